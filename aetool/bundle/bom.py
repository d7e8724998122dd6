"""The bundle's bom.cdx.json: a bill of materials (CycloneDX 1.6, machine learning), made of the manifest alone."""

import json
import uuid
from typing import Any

from aetool.bundle.manifest import Manifest

BOM = "bom.cdx.json"
_LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scikit-learn", "pyod", "tensorflow", "keras")
"""Tools of a manifest that are packages of PyPI."""


def ml_bom(manifest: Manifest) -> str:
    """Return the bill of materials: the model with its card, its files with their hashes, its data, its tools.

    The files are those of the manifest, without the bill itself; manifest.json holds the hash of that.
    """
    files = [
        {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": record.sha256}],
        }
        for name, record in sorted(manifest.files.items())
        if name != BOM
    ]
    libraries: list[dict[str, Any]] = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version.replace('+', '%2B')}",
        }
        for name, version in sorted(manifest.tools.items())
        if name in _LIBRARIES
    ]
    data = _data(manifest)
    parts = [*files, *libraries, data]
    content = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{manifest.id} {_made(manifest)}')}",
        "version": 1,
        "metadata": {
            "timestamp": _made(manifest),
            "tools": {
                "components": [
                    {"type": "application", "name": "aetool", "version": str(manifest.tools.get("aetool", ""))}
                ]
            },
            "component": _model(manifest, data["bom-ref"]),
        },
        "components": parts,
        "dependencies": [{"ref": "model", "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _made(manifest: Manifest) -> str:
    return str(manifest.calibration.get("created", manifest.created))


def _data(manifest: Manifest) -> dict[str, Any]:
    """Return the component of the rows that the model was trained on."""
    name = str(manifest.provenance.get("data") or "unknown")
    found: dict[str, Any] = {"type": "data", "bom-ref": "training-data", "name": name}
    if fingerprint := manifest.provenance.get("data_fingerprint"):
        found["version"] = str(fingerprint)[:12]
    found["data"] = [{"type": "dataset", "name": name}]
    return found


def _model(manifest: Manifest, data: str) -> dict[str, Any]:
    shape = " x ".join(map(str, manifest.input_shape))
    outputs = ["embedding", "reconstruction", "score", "is_anomaly"]
    parameters = {
        "approach": {"type": "unsupervised"},
        "task": "anomaly detection",
        "architectureFamily": "autoencoder",
        "modelArchitecture": f"{shape} values to {manifest.embedding_dim or 'no'} in the embedding",
        "datasets": [{"ref": data}],
        "inputs": [{"format": f"features: float32, rows of {shape}, in raw units"}],
        "outputs": [{"format": name} for name in outputs[0 if manifest.embedding_dim else 1 :]],
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": manifest.name,
        "version": manifest.id[:12],
        "hashes": [{"alg": "SHA-256", "content": manifest.id}] if _is_digest(manifest.id) else [],
        "modelCard": {
            "bom-ref": "model-card",
            "modelParameters": parameters,
            "quantitativeAnalysis": {"performanceMetrics": _metrics(manifest)},
            "considerations": {
                "useCases": [
                    "Rows from where the training rows are from, whose score above the threshold marks an anomaly"
                ],
                "technicalLimitations": [
                    "Scores of rows from elsewhere, or of columns in other units, mean nothing: see aetool drift"
                ],
            },
        },
    }


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _metrics(manifest: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"type": f"threshold of the score ({precision})", "value": repr(variant.threshold)}
        for precision, variant in sorted(manifest.variants.items())
    ]
    for key, name in (("false_alarms", "share of normal rows flagged"), ("recall", "share of anomalies flagged")):
        counted = manifest.calibration.get(key)
        if isinstance(counted, dict):
            bounds = {"lowerBound": str(counted.get("low")), "upperBound": str(counted.get("high"))}
            share = str(counted.get("share"))
            found.append({"type": name, "value": share, "slice": "calibration rows", "confidenceInterval": bounds})
    if not manifest.calibration and (share_held_out := manifest.threshold.get("flagged_share")) is not None:
        found.append(
            {"type": "share of normal rows flagged", "value": str(share_held_out), "slice": "held-out rows"}
        )
    return found
