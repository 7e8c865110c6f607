"""Write `e5_graph.onnx`: the network of multilingual-e5-small without its weights.

    PYTHONPATH=. python scripts/make_e5_graph.py [path of the graph]

A developer tool, needed only when the graph changes. It requires the package `onnx`, which Quire
itself does not use. Every weight is declared as external data without a file.
`lib.embedding_e5.load_e5` passes the values to onnxruntime under the names used here.

The operators were the fastest on a CPU with onnxruntime 1.32 (texts of 160 tokens, one thread):

* `QAttention` computes the three projections and the attention in one step, and
  `DynamicQuantizeMatMul` the other products. Weights are int8 with one scale per output,
  activations uint8 with one scale per tensor, computed at run time.
* `Add` and `LayerNormalization` stay separate: fused as `SkipLayerNormalization` they take twice
  the time. The loader must prevent the fusion (ORT_ENABLE_BASIC).
* `Mul` before a product scales down the few channels that are many times larger than the others,
  which would otherwise lose precision. The product's weights are scaled up accordingly.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, save_model

from lib.embedding_e5 import DAMPED, DIMENSION, FEED_FORWARD, GRAPH, LAYERS

HEADS: Final = 12
NORM_EPSILON: Final = 1e-12
FUSED: Final = "com.microsoft"
IR_VERSION: Final = 9  # the oldest that supports the graph
OPSET: Final = 18


class Graph:
    """Builder for nodes and the declarations of their weights."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, name: str, kind: int, *shape: int) -> str:
        """Declare a weight whose values are bound when the graph is loaded."""
        tensor = TensorProto(name=name, data_type=kind, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "bound at load"), ("offset", "0")):
            tensor.external_data.add(key=key, value=value)
        self.weights.append(tensor)
        return name

    def floats(self, name: str, *shape: int) -> str:
        return self.weight(name, TensorProto.FLOAT, *shape)

    def add(
        self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: object
    ) -> str:
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes)
        )
        return output

    def norm(self, values: str, name: str, output: str) -> str:
        scale, bias = (
            self.floats(f"{name}.scale", DIMENSION),
            self.floats(f"{name}.bias", DIMENSION),
        )
        return self.add(
            "LayerNormalization", [values, scale, bias], output, axis=-1, epsilon=NORM_EPSILON
        )

    def damped(self, values: str, name: str, width: int) -> str:
        if name not in DAMPED:
            return values
        return self.add("Mul", [values, self.floats(f"{name}.damping", width)], f"{name}.damped")

    def linear(self, values: str, name: str, width: int, outputs: int) -> str:
        inputs = [
            self.damped(values, name, width),
            self.weight(f"{name}.weight", TensorProto.INT8, width, outputs),
            self.floats(f"{name}.weight_scale", outputs),
            "",  # zero point 0
            self.floats(f"{name}.bias", outputs),
        ]
        return self.add("DynamicQuantizeMatMul", inputs, f"{name}.output", FUSED)

    def attention(self, values: str, name: str) -> str:
        quantised = [f"{name}.{part}" for part in ("input", "input_scale", "input_zero")]
        self.nodes.append(
            helper.make_node(
                "DynamicQuantizeLinear",
                [self.damped(values, name, DIMENSION)],
                quantised,
                name=quantised[0],
            )
        )
        inputs = [
            quantised[0],
            self.weight(f"{name}.weight", TensorProto.INT8, DIMENSION, 3 * DIMENSION),
            self.floats(f"{name}.bias", 3 * DIMENSION),
            quantised[1],
            self.floats(f"{name}.weight_scale", 3 * DIMENSION),
            "",  # no mask: texts are never padded
            quantised[2],
        ]
        return self.add("QAttention", inputs, f"{name}.context", FUSED, num_heads=HEADS)


def make_graph() -> ModelProto:
    """Build the graph from embedded tokens `[1, tokens, 384]` to the layer mean `[1, 384]`."""
    graph = Graph()
    values = graph.norm("embedded", "embedding.norm", "layer0")
    for layer in range(LAYERS):
        context = graph.attention(values, f"{layer}.qkv")
        output = graph.linear(context, f"{layer}.attended", DIMENSION, DIMENSION)
        total = graph.add("Add", [output, values], f"{layer}.attended.sum")
        attended = graph.norm(total, f"{layer}.attended.norm", f"{layer}.attended.normed")
        inner = graph.linear(attended, f"{layer}.inner", DIMENSION, FEED_FORWARD)
        inner = graph.add("Gelu", [inner], f"{layer}.inner.gelu", FUSED)
        output = graph.linear(inner, f"{layer}.outer", FEED_FORWARD, DIMENSION)
        total = graph.add("Add", [output, attended], f"{layer}.outer.sum")
        values = graph.norm(total, f"{layer}.outer.norm", f"layer{layer + 1}")
    graph.add("ReduceMean", [values, "mean.axes"], "mean", keepdims=0)
    graph.weights.append(numpy_helper.from_array(np.array([1], np.int64), "mean.axes"))
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "multilingual-e5-small",
            [
                helper.make_tensor_value_info(
                    "embedded", TensorProto.FLOAT, [1, "tokens", DIMENSION]
                )
            ],
            [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, DIMENSION])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)],
        ir_version=IR_VERSION,
        producer_name="make_e5_graph",
    )


if __name__ == "__main__":
    save_model(make_graph(), str(Path(sys.argv[1]) if len(sys.argv) > 1 else GRAPH))
