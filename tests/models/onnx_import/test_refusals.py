"""Files that cannot or must not be imported: one line that names the node or field, and bounded memory and time."""

import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper

from models.errors import ModelError
from models.onnx_import import OnnxError, build_network, import_onnx
from models.onnx_import.files import parsed, read_file, unpack_onnx_zip
from tests.models.onnx_import.graphs import behind_conv, classifier, model, weights


def refusal(proto: onnx.ModelProto) -> str:
    """The message with which a model is refused."""
    with pytest.raises(OnnxError) as caught:
        build_network(proto).compare()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "opset", "words"),
    [
        ("a=QuantizeLinear(h,s,q)\nz=DequantizeLinear(a,s,q)", 17, ("QuantizeLinear", "quantized already", "float")),
        ("z=RandomNormalLike(h)", 17, ("RandomNormalLike", "random numbers")),
        ("z=If<then_branch=g1()=>(float t){t=Identity(s)}, else_branch=g2()=>(float u){u=Identity(s)}>(c)", 17,
         ("If", "control flow")),
        ("a=SequenceConstruct(h)\nz=SequenceAt(a,zero)", 17, ("SequenceConstruct", "only tensors")),
        ("a,b,c=LSTM<hidden_size=3>(h,s,s)\nz=Identity(a)", 17, ("LSTM", "recurrent")),
        ("z=Det(h)", 17, ("Det", "not supported")),
        ("z=Dropout(h,s,c)", 17, ("Dropout", "training mode")),
        ("z=Reshape(h,t)", 17, ("Reshape", "do not fit")),
        ("a=Gather(h,zero)\nz=Unsqueeze(a,zeros)", 17, ("Gather", "samples must stay independent")),
        ("a=ReduceMean<axes=[0]>(h)\nz=Sub(h,a)", 17, ("ReduceMean", "one axis must follow the batch")),
        ("z=Softmax<axis=0>(h)", 17, ("depends on the other samples",)),
        ("z=Resize<coordinate_transformation_mode=\"tf_crop_and_resize\">(h,roi,k)", 17, ("Resize", "not supported")),
        ("z=Pad(h,h)", 17, ("Pad", "must be a constant")),
    ],
)
def test_what_is_not_supported_is_told_with_the_node(body: str, opset: int, words: tuple[str, ...]) -> None:
    constants = {
        "s": np.float32(0.1), "q": np.array(0, np.uint8), "c": np.array(True), "t": np.array([2, -1, 7]),
        "zero": np.array(0), "zeros": np.array([0]), "roi": np.zeros(8, np.float32), "k": np.float32([1, 1, 2, 2]),
    }
    text = refusal(behind_conv(body, opset=opset, constants=constants))
    assert all(word in text for word in words), text


@pytest.mark.parametrize("end", ["Softmax<axis=0>(l)", "LogSoftmax<axis=0>(l)"])
def test_scores_that_are_compared_over_the_batch_are_not_those_of_classes(end: str) -> None:
    """Only what compares the classes of one sample may be taken off the end of a graph."""
    body = f"p=GlobalAveragePool(x)\nq=Flatten(p)\nl=Gemm<transB=1>(q,f)\ny={end}"
    assert "depends on the other samples" in refusal(model(body, constants={"f": weights(5, 3)}))
    for fine in (end.replace("0", "1"), end.replace("0", "-1"), end.replace("<axis=0>", "")):
        imported = build_network(model(body.replace(end, fine), constants={"f": weights(5, 3)}))
        assert "softmax; the scores before it" in " ".join(imported.notes) and imported.compare().inputs > 0


def test_an_arg_max_over_the_batch_is_refused() -> None:
    body = "p=GlobalAveragePool(x)\nq=Flatten(p)\nl=Gemm<transB=1>(q,f)\ny=ArgMax<keepdims=0>(l)"
    refusal(model(body, output="int64[M] y", constants={"f": weights(5, 3)}))


def test_versions_domains_and_forms_are_checked() -> None:
    assert "opset: 10" in refusal(behind_conv("z=Relu(h)", opset=10))
    custom = behind_conv("z=Relu(h)")
    custom.opset_import.append(helper.make_opsetid("com.example", 1))
    custom.graph.node[1].domain = "com.example"
    assert "com.example::Relu" in refusal(custom) and "custom operators" in refusal(custom)
    twice = behind_conv("a=Relu(h)\nz=Relu(h)")
    twice.graph.node[1].output[0] = "z"
    assert "made twice" in refusal(twice)
    circle = behind_conv("a=Relu(h)\nz=Add(a,a)")
    circle.graph.node[1].input[0] = "z"
    assert "cycle" in refusal(circle)
    lost = behind_conv("z=Relu(h)")
    lost.graph.node[1].input[0] = "nothing"
    assert "'nothing', which is never made" in refusal(lost)
    doubled = behind_conv("z=Relu(h)")
    doubled.graph.initializer.append(doubled.graph.initializer[0])
    assert "two of that name" in refusal(doubled)
    training = behind_conv("z=Relu(h)")
    training.training_info.add()
    assert "training graph" in refusal(training)
    texts = behind_conv("z=Relu(h)")
    texts.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"a"]))
    assert "tensor 'words'" in refusal(texts)


def test_inputs_and_outputs_of_other_forms_are_told() -> None:
    two = model("a=Add(x,v)\nb=Conv(a,w)\ny=Flatten(b)", inputs="float[N,3,6,6] x, float[N,3,6,6] v",
                constants={"w": weights(2, 3, 3, 3)})
    assert "2 inputs ('x', 'v')" in refusal(two)
    oblong = model("b=Conv(x,w)\ny=Flatten(b)", inputs="float[N,3,6,8] x", constants={"w": weights(2, 3, 3, 3)})
    assert "6x8 is not allowed" in refusal(oblong)
    maps = model("y=Conv(x,w)", output="float[N,2,4,4] y", constants={"w": weights(2, 3, 3, 3)})
    assert "Nx2x4x4 is not supported; (N, classes)" in refusal(maps)
    bare = model("a=Relu(x)\ny=Flatten(a)")
    assert "no weights" in refusal(bare)
    unknown = model("a=Gather(t,ids)\nb=Mul(a,e)\ny=ReduceSum<keepdims=0>(b,ax)", output="float[N,4] y",
                    inputs="int64[N,5] ids, int64[N,5] extra", constants={"t": weights(9, 4), "ax": np.array([1])})
    unknown.graph.node[1].input[1] = "f"
    cast = helper.make_node("Cast", ["extra"], ["e2"], to=1)
    reach = helper.make_node("Unsqueeze", ["e2", "ax2"], ["f"])
    unknown.graph.initializer.append(helper.make_tensor("ax2", TensorProto.INT64, [1], [2]))
    unknown.graph.node.insert(0, reach)
    unknown.graph.node.insert(0, cast)
    assert "input 'extra'" in refusal(unknown) and "attention_mask" in refusal(unknown)


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("a=ConstantOfShape(big)\nz=Add(h,a)", {"big": np.array([2**20, 2**20, 2**20])}),
        ("a=ConstantOfShape(big)\nb=ReduceSum<keepdims=0>(a)\nz=Add(h,b)", {"big": np.array([2**30])}),
        ("a=Expand(one,big)\nb=ReduceSum<keepdims=0>(a)\nz=Add(h,b)",
         {"big": np.array([2**20, 2**20]), "one": np.float32([1])}),
        ("a=Tile(one,big)\nb=ReduceSum<keepdims=0>(a)\nz=Add(h,b)", {"big": np.array([2**40]), "one": np.float32([1])}),
        ("a=Range(z0,big,one)\nb=ReduceSum<keepdims=0>(a)\nc=Cast<to=1>(b)\nz=Add(h,c)",
         {"big": np.array(2**50), "z0": np.array(0), "one": np.array(1)}),
        ("z=Pad(h,big)", {"big": np.array([0, 0, 2**20, 2**20, 0, 0, 2**20, 2**20])}),
        ("z=Resize<mode=\"nearest\">(h,,k)", {"k": np.float32([1, 1, 2**20, 2**20])}),
        ("z=Expand(h,big)", {"big": np.array([2**20, 2**20, 1, 1, 1, 1])}),
        ("a=Reshape(h,flat)\nb=Transpose(a)\nc=Unsqueeze(a,two)\nd=Unsqueeze(a,one)\nz=Mul(c,d)\n",
         {"flat": np.array([0, -1]), "two": np.array([2] * 30), "one": np.array([1])}),
        ("z=Upsample(h)", {}),
        ("z=OneHot(i,d,v)\ni=ArgMax<axis=1>(h)", {"d": np.array(2**40), "v": np.float32([0, 1])}),
        ("z=Conv<pads=[1000000000,1000000000,1000000000,1000000000]>(h,w)", {"w": weights(4, 4, 3, 3)}),
        ("z=MaxPool<kernel_shape=[3,3],strides=[0,0]>(h)", {}), ("z=Conv<group=0>(h,w)", {"w": weights(4, 4, 3, 3)}),
        ("z=DepthToSpace<blocksize=0>(h)", {}), ("z=Split<axis=1>(h)", {}),
    ],
)
def test_bombs_are_refused_in_bounded_memory_and_time(body: str, constants: dict[str, np.ndarray]) -> None:
    proto = behind_conv(body, constants=constants)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    if "Split" in body:
        assert build_network(proto).num_classes == 144  # one part is the whole
    else:
        refusal(proto)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 700 and time.monotonic() - start < 20


def test_functions_that_explode_or_turn_in_circles_are_refused() -> None:
    proto = behind_conv("z=Relu(h)")
    proto.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(40):
        name, domain = (f"f{level + 1}", "own") if level < 39 else ("Relu", "")
        values = ["x", "t1", "t2", "t3", "y"]
        inner = [helper.make_node(name, [values[i]], [values[i + 1]], domain=domain) for i in range(4)]
        proto.functions.append(helper.make_function("own", f"f{level}", ["x"], ["y"], inner, opsets))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "f0", "own"
    assert "functions call each other" in refusal(proto) or "more than" in refusal(proto)
    del proto.functions[20:]
    proto.functions[19].node[0].op_type = "f19"
    assert "circle" in refusal(proto)


def test_a_function_of_the_file_is_written_out() -> None:
    proto = behind_conv("z=Relu(h)")
    proto.opset_import.append(helper.make_opsetid("own", 1))
    body = [helper.make_node("Relu", ["x"], ["t"]), helper.make_node("Neg", ["t"], ["y"])]
    proto.functions.append(helper.make_function("own", "f", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "f", "own"
    assert build_network(proto).compare().largest <= 1e-4


def external(folder: Path, location: str = "model.data", proto: onnx.ModelProto | None = None) -> Path:
    """A file whose data lie beside it, perhaps under another name than it says."""
    proto = proto or classifier()
    external_data_helper.convert_model_to_external_data(proto, location="model.data", size_threshold=0)
    onnx.save_model(proto, folder / "model.onnx")
    held = onnx.load_model(folder / "model.onnx", load_external_data=False)
    for tensor in held.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "model.onnx").write_bytes(held.SerializeToString())
    return folder / "model.onnx"


def test_data_beside_the_file_and_in_a_zip_are_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    assert import_onnx(path).compare().largest <= 1e-4
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(path, "folder/model.onnx")
        archive.write(tmp_path / "model.data", "folder/model.data")
    (tmp_path / "unpacked").mkdir()
    found = unpack_onnx_zip(tmp_path / "both.zip", tmp_path / "unpacked", "both.zip")
    assert read_file(found) == read_file(path)


@pytest.mark.parametrize(
    "location",
    ["../model.data", "/etc/hostname", "a/../../model.data", "..\\model.data", "C:/model.data", "", "gone.data"],
)
def test_data_outside_of_the_folder_are_never_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    path = external(tmp_path / "inner", location)
    (tmp_path / "inner" / "model.data").rename(tmp_path / "model.data")
    with pytest.raises(OnnxError, match=r"folder is needed|beside the file"):
        read_file(path)


def test_links_out_of_the_folder_and_wrong_lengths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    path = external(tmp_path / "inner")
    (tmp_path / "inner" / "model.data").rename(tmp_path / "model.data")
    (tmp_path / "inner" / "model.data").symlink_to(tmp_path / "model.data")
    with pytest.raises(OnnxError, match="a link out of"):
        read_file(path)
    (tmp_path / "inner" / "model.data").unlink()
    (tmp_path / "inner" / "model.data").write_bytes(b"short")
    with pytest.raises(OnnxError, match="beyond the end"):
        read_file(path)


def test_tensors_that_say_more_than_they_hold_are_refused() -> None:
    for change in (
        lambda t: t.dims.append(2**40), lambda t: t.dims.__setitem__(0, -1), lambda t: t.ClearField("raw_data"),
        lambda t: t.dims.extend([1] * 20), lambda t: setattr(t, "data_type", 99),
    ):
        proto = classifier()
        change(proto.graph.initializer[0])
        assert "tensor 'stem.conv.weight'" in refusal(proto)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for data in (b"", b"not onnx at all", classifier().SerializeToString()[:-500]):
        (tmp_path / "m.onnx").write_bytes(data)
        with pytest.raises(ModelError, match=r"m\.onnx is no ONNX file"):
            import_onnx(tmp_path / "m.onnx")
    with pytest.raises(OnnxError, match="no such file"):
        import_onnx(tmp_path / "gone.onnx")


_WHOLE = classifier().SerializeToString()


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_flipped_bytes_are_imported_or_refused_in_one_line(changes: list[tuple[int, int]], near_nodes: bool) -> None:
    """Bytes of the nodes, which come first, and of the whole file with its weights."""
    data = bytearray(_WHOLE)
    for place, byte in changes:
        data[place % 700 if near_nodes else place] = byte
    try:
        build_network(parsed(bytes(data), "mutated")).compare()
    except OnnxError as error:
        assert "\n" not in str(error)
