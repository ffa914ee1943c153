"""The format of a run card, as a JSON schema."""

__all__ = ["FORMAT", "SCHEMA"]

FORMAT = 1


def _object(required: dict, optional: dict | None = None) -> dict:
    """An object with these fields and no others."""
    properties = required | (optional or {})
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
# of another folder there is nothing to say: card, checkpoint and values travel together
_FILE = {"type": "string", "pattern": r"^[^/\\]+$"}
_COUNT = {"type": "integer", "minimum": 1}
_SEED = {"type": "integer", "minimum": 0}
_SECONDS = _object({"wall": {"type": "number", "minimum": 0}, "cpu": {"type": "number", "minimum": 0}})
_VERSIONS = {"type": "object", "additionalProperties": _TEXT, "required": ["python", "torch", "vae_lib"]}
_DEVICE = _object({"kind": {"enum": ["cpu", "cuda"]}, "name": _TEXT, "processes": _COUNT})
_MEAN = _object(
    {
        "value": {"type": "number"},
        "standard_error": {"type": ["number", "null"], "minimum": 0},
    }
)
_CURVE = {"type": "array", "items": {"type": ["number", "null"]}}

SCHEMA: dict = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Run card of vae_lib",
    **_object(
        {
            "format": {"const": FORMAT},
            "training": _object(
                {
                    "command": _TEXT,
                    "commit": {"type": ["string", "null"], "pattern": "^[0-9a-f]{40,64}$"},
                    "dirty": {"type": ["boolean", "null"]},
                    "date": _TEXT,
                    "model": _object({"builder": _TEXT, "arguments": {"type": "object"}}),
                    "config": {
                        "type": "object",
                        "properties": {"seed": _SEED, "epochs": _COUNT},
                        "required": ["seed", "epochs"],
                    },
                    "data": _object(
                        {
                            "name": _TEXT,
                            "likelihood": _TEXT,
                            "training": _TEXT,
                            "validation": {"type": ["string", "null"]},
                        }
                    ),
                    "device": _DEVICE,
                    "versions": _VERSIONS,
                    "seconds": _SECONDS,
                    "resumed": {"type": "boolean"},
                    "curve": {"type": "object", "additionalProperties": _CURVE, "required": ["elbo"]},
                }
            ),
            "sha256": _SHA256,
        },
        {
            "checkpoint": _object(
                {
                    "file": _FILE,
                    "sha256": _SHA256,
                    "epoch": _COUNT,
                    "precision": {"enum": ["float32", "float16"]},
                }
            ),
            "evaluation": _object(
                {
                    "data": _object(
                        {
                            "name": _TEXT,
                            "split": {"enum": ["train", "validation", "test"]},
                            "binarisation": {"type": ["integer", "null"], "minimum": 0},
                            "fingerprint": _TEXT,
                        }
                    ),
                    "examples": _COUNT,
                    "samples": _COUNT,
                    "seed": _SEED,
                    "device": _DEVICE,
                    "versions": _VERSIONS,
                    "seconds": _SECONDS,
                    "elbo": _MEAN,
                    "log_likelihood": _MEAN,
                    "effective_sample_size": {"type": "number", "minimum": 1},
                    "values": _object({"file": _FILE, "sha256": _SHA256}),
                }
            ),
        },
    ),
    "dependentRequired": {"checkpoint": ["evaluation"], "evaluation": ["checkpoint"]},
}
