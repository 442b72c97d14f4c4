"""The Kubernetes manifests of the docs, checked with Kubernetes' own schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

_DOCS = Path(__file__).parents[2] / "docs" / "howto"
_BLOCK = re.compile(r"```yaml\n(apiVersion:.*?)```", re.DOTALL)


def _manifests() -> list[Any]:
    texts = [path.read_text(encoding="utf-8") for path in (_DOCS / "kubernetes").glob("*.yaml")]
    texts += _BLOCK.findall((_DOCS / "kubernetes.md").read_text(encoding="utf-8"))
    return [each for text in texts for each in yaml.safe_load_all(text)]


@pytest.mark.parametrize("manifest", _manifests(), ids=lambda each: each["metadata"]["name"])
def test_a_manifest_is_valid(manifest: dict[str, Any]) -> None:
    """No field is misspelt or has a value of the wrong kind."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    """The check itself works."""
    (first, *_) = _manifests()
    first["spec"]["templtae"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(first, kubernetes_validate.latest_version(), strict=True)
