"""Child process of `torch_program`: loads a ``.pt2`` with torch alone and executes it on saved inputs."""

import sys

import numpy as np
import torch

_BATCH = 64


def main(program_path: str, inputs_path: str, outputs_path: str) -> None:
    """Write the program's outputs for the inputs of an ``.npy`` file."""
    torch.set_num_threads(1)
    program = torch.export.load(program_path).module()
    inputs = torch.from_numpy(np.load(inputs_path, allow_pickle=False))
    with torch.inference_mode():
        outputs = [program(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH)]
    np.save(outputs_path, torch.cat(outputs).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
