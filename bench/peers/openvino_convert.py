#!/usr/bin/env python3
"""Converts a checkpoint for OpenVINO GenAI: text of 4 or 8 bits, vision tower of 8 bits.

    openvino_convert.py MODEL OUT --text-bits 4|8

MODEL is a directory of dress.py. What the exporter writes is edited in one point: it makes the tower's bytes signed, for which
the CPU plugin has no product of bytes. They become unsigned with a zero point of 128, the same numbers, and products about
twice as fast. Run with the interpreter of the environment that has optimum-intel.
"""

import argparse
import pathlib
import subprocess
import sys

import numpy
import openvino
from openvino import opset13 as ops

TOWER = ("openvino_vision_embeddings_model", "openvino_vision_embeddings_merger_model")


def unsigned(model):
    """Each signed byte weight becomes an unsigned one less 128. Returns how many."""
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or node.input_value(0).get_node().get_type_name() != "Constant":
            continue
        constant = node.input_value(0).get_node()
        if constant.get_element_type() != openvino.Type.i8 or len(constant.get_output_shape(0)) != 2:
            continue
        kind = node.get_output_element_type(0)
        weights = (constant.get_data().astype(numpy.int16) + 128).astype(numpy.uint8)
        widened = ops.convert(ops.constant(weights), kind)
        zero = ops.convert(ops.constant(numpy.full((1, 1), 128, numpy.uint8)), kind)
        moved = ops.subtract(widened, zero)
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(moved.output(0))
        count += 1
    return count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text-bits", choices=("4", "8"), required=True)
    args = parser.parse_args()
    form = ["int8"] if args.text_bits == "8" else ["int4", "--sym", "--group-size", "128", "--ratio", "1.0"]
    optimum = pathlib.Path(sys.executable).with_name("optimum-cli")
    subprocess.run([optimum, "export", "openvino", "-m", args.model, "--task", "image-text-to-text", "--weight-format", *form,
                    args.out], check=True)  # fmt: skip
    for name in TOWER:
        path = args.out / f"{name}.xml"
        model = openvino.Core().read_model(path)
        print(f"{name}: {unsigned(model)} weights made unsigned")
        edited = path.with_name(f"{name}_edited.xml")
        openvino.save_model(model, edited, compress_to_fp16=False)
        del model
        edited.rename(path)
        edited.with_suffix(".bin").rename(path.with_suffix(".bin"))


if __name__ == "__main__":
    main()
