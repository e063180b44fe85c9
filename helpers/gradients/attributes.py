"""The attributes of an object that decide, and how a functional model is wired."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from helpers.backend import keras

__all__ = ["UNUSED", "fields_of", "wiring_of"]


def _words(text: str) -> set[str]:
    return set(text.split())


#: Entries of a class that are no part of what it does.
_OF_CLASSES = _words(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __annotations__ __annotate__ "
    "__annotate_func__ __annotations_cache__ __firstlineno__ __static_attributes__ "
    "__abstractmethods__ _abc_impl __orig_bases__ __parameters__ __dataclass_fields__ "
    "__dataclass_params__ __match_args__ __slots__"
)
#: What Keras writes into a layer while it is built, called and saved.
_OF_LAYERS = _words(
    "_auto_config _build_shapes_dict _call_context_args _call_has_context_arg _call_has_mask_arg "
    "_call_has_training_arg _call_signature _called _inbound_nodes _lock _loss_ids _losses "
    "_losses_override _metrics _obj_type _outbound_nodes _parent_path _path "
    "_saved_model_arg_spec _saved_model_inputs_spec _seed_generators _tracked _tracker "
    "build built call_signature_parameters name quantize supports_jit"
)
#: What it writes into a model when it is compiled and fitted.
_OF_MODELS = _words(
    "_compile_config _compile_loss _compile_metrics _compute_loss_has_training_arg "
    "_distribute_strategy _initial_epoch _jit_compile _loss_tracker _optimizer _run_eagerly "
    "auto_scale_loss compiled predict_function steps_per_execution "
    "stop_training test_function train_function unrolled_steps_per_execution "
    "_symbolic_build_called _eval_data_handler _epoch_iterator _eval_epoch_iterator "
    "_compiled_trainable_state _distribute_reduction_method _distributed_dataset "
    "stop_evaluating stop_predicting"
)
#: The wiring of a functional model, which :func:`wiring_of` tells without addresses.
_OF_GRAPHS = _words(
    "_inputs _inputs_struct _nodes _nodes_by_depth _operations _operations_by_depth _outputs "
    "_outputs_struct input_names output_names"
)
#: What a layer may hold and its call does not read; dropout and the like are off.
UNUSED = (
    keras.random.SeedGenerator,
    keras.optimizers.Optimizer,
    keras.metrics.Metric,
    keras.callbacks.History,
)


def fields_of(value: Any) -> Mapping[str, Any]:
    """Return the attributes of an object or class that can decide what it computes.

    Of a layer they are those that Keras does not keep for itself.

    Example:
        >>> layer = keras.layers.Dense(2, activation="relu")
        >>> {n: fields_of(layer)[n] for n in ("units", "use_bias")}, "built" in fields_of(layer)
        ({'units': 2, 'use_bias': True}, False)
    """
    if isinstance(value, type):
        return {n: v for n, v in vars(value).items() if n not in _OF_CLASSES}
    known = getattr(value, "__dict__", {})
    if isinstance(value, keras.Initializer):  # its seed is drawn, and only counts at the start
        return {n: v for n, v in known.items() if "seed" not in n}
    if not isinstance(value, keras.Operation):
        return known
    left_out = _OF_LAYERS | (_OF_MODELS if isinstance(value, keras.Model) else set())
    left_out |= _OF_GRAPHS if _is_functional(value) else set()
    return {
        n: v
        for n, v in known.items()
        if n not in left_out and not isinstance(v, UNUSED) and not n.startswith("_self_")
    }


def _is_functional(value: Any) -> bool:
    return hasattr(value, "_nodes_by_depth") and hasattr(value, "_operations")


def wiring_of(value: Any) -> list[tuple[str, Any]]:
    """Return which operation of a functional model reads which, and the name of an input.

    Two models with equal layers may join them differently, which no attribute of a layer shows.
    """
    if isinstance(value, keras.layers.InputLayer):
        given = not re.fullmatch(r"(input_layer|keras_tensor)(_\d+)?", value.name)
        return [(".name", value.name if given else "")]
    if not _is_functional(value):
        return []
    # A layer may have been called in other models as well: only this model's calls count.
    inside = {id(node) for level in value._nodes_by_depth.values() for node in level}
    nodes = {op: [n for n in op._inbound_nodes if id(n) in inside] for op in value._operations}
    # Names that Keras numbers differ from run to run, so operations are told by their place.
    place = {id(op): number for number, op in enumerate(nodes)}

    def linked(part: Any) -> Any:
        if isinstance(part, keras.KerasTensor):
            op, node, tensor = part._keras_history
            own = nodes.get(op, [])
            known = [n for n, each in enumerate(own) if each is op._inbound_nodes[node]]
            return f"output {tensor} of call {known} of {place.get(id(op))}"
        if isinstance(part, dict):
            return {n: linked(v) for n, v in part.items()}
        if isinstance(part, list | tuple):
            return [type(part).__name__, *map(linked, part)]
        return part

    calls = [[(linked(n.arguments.args), linked(n.arguments.kwargs)) for n in own if not n.is_input]
             for own in nodes.values()]  # fmt: skip
    ends = [linked(value._inputs_struct), linked(value._outputs_struct)]
    operations = [(f" operation {n}", op) for n, op in enumerate(nodes)]
    return [*operations, (" wiring", calls), (" wiring", ends)]
