"""Import offline, in-store and CRM conversions from CSV, NDJSON and Parquet files.

``adcp-tracker import`` is this on the command line.
"""

from adcp_tracker.importing.mapping import ImportOptions, Plan
from adcp_tracker.importing.run import Import, ImportReport, import_file

__all__ = ["Import", "ImportOptions", "ImportReport", "Plan", "import_file"]
