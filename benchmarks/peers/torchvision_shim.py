"""torchvision beside a build of torch that it was not compiled for.

Only its Python half is needed: the MNIST class and ToTensor. It fails to import where its compiled
half does not load, because it describes two operators of that half. So they are declared first.
"""

import importlib

import torch

__all__ = ["import_torchvision"]

_declared: list[torch.library.Library] = []  # a declaration lives as long as its library


def import_torchvision(name: str):
    """The module `torchvision.<name>`."""
    try:
        return importlib.import_module(f"torchvision.{name}")
    except RuntimeError as error:
        if "nms does not exist" not in str(error) or _declared:
            raise
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return importlib.import_module(f"torchvision.{name}")
