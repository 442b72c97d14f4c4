"""What a web request tells: the shopper's address, page, click and consent.

The standard library only. The adapters for web frameworks are glue around :mod:`.capture`.
"""
