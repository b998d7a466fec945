"""Every operator gives what ONNX Runtime does, in the attributes that exporters use."""

import numpy as np
import pytest
import torch
from onnx import defs
from torch import nn

from models.onnx_import.operator_registry import known_operators
from tests.models.onnx_import.graphs import behind_conv, built, model, weights

W = weights
I64 = np.int64
CASES: dict[str, tuple[str, int, dict[str, np.ndarray]]] = {
    "activations": ("a=Relu(h) b=LeakyRelu<alpha=0.2>(a) c=Elu(b) d=Selu(c) e=Softplus(d) f=Sigmoid(e) g=Tanh(f) "
                    "i=Erf(g) j=HardSigmoid<alpha=0.3>(i) k=Softsign(j) l=Celu(k) z=ThresholdedRelu<alpha=0.1>(l)",
                    17, {}),
    "new activations": ("a=HardSwish(h) b=Mish(a) c=Gelu(b) z=Gelu<approximate=\"tanh\">(c)", 20, {}),
    "swish": ("a=Sigmoid(h) b=Mul(h,a) z=HardSwish(b)", 17, {}),
    "prelu": ("z=PRelu(h,s)", 17, {"s": W(4, 1, 1)}),
    "clip": ("a=Clip(h,low,high) b=Clip(a,zero,six) z=Clip(b,low)", 13, {
        "low": np.float32([-0.5]).reshape(()), "high": np.float32(2), "zero": np.float32(0), "six": np.float32(6)}),
    "arithmetic": ("a=Add(h,one) b=Sub(one,a) c=Mul(b,row) d=Div(c,two) e=Abs(d) f=Pow(e,two) g=Sqrt(f) i=Neg(g) "
                   "j=Exp(i) k=Max(j,row) l=Min(k,one) m=Sum(l,row,j) n=Mean(m,one) o=Reciprocal(n) "
                   "z=Mod<fmod=1>(o,two)",
                   17, {"one": np.float32(1), "two": np.float32(2), "row": W(4, 1, 1)}),
    "comparisons": ("a=Greater(h,r) b=Less(h,r) c=Or(a,b) d=Not(c) e=And(c,d) f=Xor(e,a) z=Where(f,h,r)", 17,
                    {"r": W(4, 1, 1)}),
    "casts": ("a=Cast<to=7>(h) b=Div(a,three) c=Mod(b,three) d=Cast<to=6>(c) e=Cast<to=1>(d) z=Add(e,h)", 17,
              {"three": np.array(3, I64)}),
    "conv same padding": ("z=Conv<auto_pad=\"SAME_UPPER\",strides=[2,2]>(h,w)", 17, {"w": W(4, 4, 3, 3)}),
    "conv lower padding": ("z=Conv<auto_pad=\"SAME_LOWER\",strides=[2,2]>(h,w,b)", 17, {"w": W(4, 4, 3, 3), "b": W(4)}),
    "conv groups": ("z=Conv<group=2,dilations=[2,1],pads=[2,0,1,1]>(h,w)", 17, {"w": W(6, 2, 3, 3)}),
    "conv and sum": ("a=Conv(h,w) z=Add(a,b)", 17, {"w": W(5, 4, 1, 1), "b": W(1, 5, 1, 1)}),
    "conv transposed": ("z=ConvTranspose<strides=[2,2],pads=[1,0,0,1],output_padding=[1,1],group=2>(h,w,b)", 17,
                        {"w": W(4, 3, 3, 3), "b": W(6)}),
    "conv transposed same": ("z=ConvTranspose<strides=[2,2],auto_pad=\"SAME_UPPER\">(h,w)", 17, {"w": W(4, 3, 3, 3)}),
    "conv 1d": ("a=Reshape(h,shape) z=Conv<pads=[1,1]>(a,w)", 17, {"shape": np.array([0, 4, 36]), "w": W(3, 4, 3)}),
    "pools": ("a=MaxPool<kernel_shape=[3,3],strides=[2,2],ceil_mode=1>(h) "
              "b=AveragePool<kernel_shape=[2,2],auto_pad=\"SAME_UPPER\">(a) "
              "c=AveragePool<kernel_shape=[3,3],pads=[1,1,1,1],count_include_pad=1>(b) z=GlobalMaxPool(c)", 17, {}),
    "uneven pools": ("a=MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[0,0,1,1]>(h) "
                     "b=AveragePool<kernel_shape=[3,3],pads=[1,0,0,1]>(a) z=GlobalAveragePool(b)", 17, {}),
    "lp pool": ("z=LpPool<kernel_shape=[2,2],strides=[2,2],p=2>(h)", 17, {}),
    "average pool in ceil mode": ("z=AveragePool<kernel_shape=[3,3],strides=[2,2],ceil_mode=1>(h)", 17, {}),
    "local response": ("a=LRN<size=3,alpha=0.1>(h) z=LRN<size=5,alpha=0.2,beta=0.5,bias=2.0>(a)", 17, {}),
    "norms": ("a=BatchNormalization<epsilon=0.01>(h,s,b,m,v) c=InstanceNormalization(a,s,b) "
              "z=LpNormalization<axis=1>(c)",
              17, {"s": W(4), "b": W(4, seed=1), "m": W(4, seed=2), "v": np.abs(W(4, seed=3)) + 0.3}),
    "layer norm": ("a=Flatten(h) z=LayerNormalization<epsilon=0.001>(a,s,b)", 17, {"s": W(144), "b": W(144, seed=1)}),
    "layer norm of two axes": ("z=LayerNormalization<axis=2>(h,s)", 17, {"s": W(6, 6)}),
    "group norm by group": ("z=GroupNormalization<num_groups=2>(h,s,b)", 18, {"s": W(2), "b": W(2, seed=1)}),
    "group norm by channel": ("z=GroupNormalization<num_groups=2>(h,s,b)", 21, {"s": W(4), "b": W(4, seed=1)}),
    "rms norm": ("z=RMSNormalization(h,s)", 23, {"s": W(6)}),
    "mean and variance": ("z=MeanVarianceNormalization<axes=[2,3]>(h)", 17, {}),
    "reductions by attribute": ("a=ReduceMean<axes=[2],keepdims=0>(h) b=ReduceMax<axes=[-1]>(a) "
                                "c=ReduceMin<axes=[2]>(a) d=Add(b,c) e=ReduceL2<axes=[1]>(h) f=ReduceL1<axes=[1]>(h) "
                                "g=ReduceSumSquare<axes=[1]>(h) i=ReduceLogSumExp<axes=[1]>(h) j=Add(e,f) k=Add(g,i) "
                                "l=Add(j,k) m=ReduceSum(l,axes) n=ReduceProd<axes=[2,3]>(m) o=Add(n,m) q=Flatten(o) "
                                "r=Flatten(d) z=Concat<axis=1>(q,r)", 17, {"axes": np.array([2], I64)}),
    "reductions by input": ("a=ReduceMean(h,axes) z=ReduceMax<noop_with_empty_axes=1>(a)", 18,
                            {"axes": np.array([2, 3], I64)}),
    "softmax of the rest": ("a=Softmax<axis=1>(h) z=LogSoftmax<axis=2>(a)", 11, {}),
    "softmax": ("a=Softmax<axis=1>(h) z=LogSoftmax(a)", 13, {}),
    "shapes": ("a=Shape(h) n=Gather(a,zero) u=Unsqueeze(n,axes) t=Concat<axis=0>(u,rest) b=Reshape(h,t) "
               "c=Transpose<perm=[0,2,1]>(b) d=Unsqueeze(c,one) z=Squeeze(d,one)", 17, {
                   "zero": np.array(0), "axes": np.array([0]), "rest": np.array([4, -1]), "one": np.array([1])}),
    "squeeze by attribute": ("a=GlobalAveragePool(h) b=Squeeze<axes=[2,3]>(a) z=Unsqueeze<axes=[1,3]>(b)", 11, {}),
    "flatten of more": ("a=Flatten<axis=2>(h) b=Flatten<axis=-1>(a) s=Shape(h) z=Reshape(b,s)", 17, {}),
    "splits": ("a,b=Split<axis=1>(h) c,d=Split<axis=2>(a,sizes) e=Concat<axis=2>(d,c) z=Concat<axis=1>(e,b)", 13,
               {"sizes": np.array([2, 4])}),
    "split in three": ("a,b,c=Split<axis=2,num_outputs=3>(h) z=Concat<axis=1>(c,a,b)", 18, {}),
    "slices": ("a=Slice(h,s,e,ax,st) z=Slice(a,s2,e2,ax2,st2)", 17, {
        "s": np.array([1, -1]), "e": np.array([2**40, -5]), "ax": np.array([2, 3]), "st": np.array([2, -2]),
        "s2": np.array([0]), "e2": np.array([-1]), "ax2": np.array([1]), "st2": np.array([1])}),
    "reversal": ("z=Slice(h,s,e,ax,st)", 17, {
        "s": np.array([-1]), "e": np.array([-(2**62)]), "ax": np.array([3]), "st": np.array([-1])}),
    "gathers": ("a=Gather<axis=2>(h,i) b=Gather<axis=3>(a,k) c=ArgMax<axis=1>(b) d=GatherElements<axis=1>(b,c) "
                "z=Concat<axis=1>(b,d)", 17, {"i": np.array([[0, -1], [2, 3]]), "k": np.array([1, 0])}),
    "expansion": ("a=GlobalAveragePool(h) b=Expand(a,shape) z=Tile(b,r)", 17, {
        "shape": np.array([1, 4, 2, 3]), "r": np.array([1, 1, 2, 1])}),
    "padding": ("a=Pad(h,p,v) b=Pad<mode=\"reflect\">(a,q) c=Pad<mode=\"edge\">(b,r) z=Pad(c,neg)", 17, {
        "p": np.array([0, 1, 0, 0, 0, 0, 1, 2]), "v": np.float32(0.5), "q": np.array([0, 0, 2, 0, 0, 0, 1, 1]),
        "r": np.array([0, 1, 1, 0, 0, 0, 0, 1]), "neg": np.array([0, 0, -1, 0, 0, 0, 0, -1])}),
    "padding by axes": ("z=Pad(h,p,,ax)", 18, {"p": np.array([1, 2]), "ax": np.array([-1])}),
    "blocks": ("a=DepthToSpace<blocksize=2>(h) b=SpaceToDepth<blocksize=2>(a) "
               "z=DepthToSpace<blocksize=2,mode=\"CRD\">(b)", 17, {}),
    "resize linear": ("a=Resize<mode=\"linear\",coordinate_transformation_mode=\"align_corners\">(h,,k) "
                      "b=Resize<mode=\"linear\",coordinate_transformation_mode=\"pytorch_half_pixel\">(a,,k) "
                      "z=Resize<mode=\"cubic\">(b,,k)", 17, {"k": np.float32([1, 1, 1.5, 2])}),
    "resize to sizes": ("n=Shape<end=1>(h) s=Concat<axis=0>(n,rest) z=Resize<mode=\"linear\">(h,,,s)", 17,
                        {"rest": np.array([4, 9, 4])}),
    "resize nearest": ("a=Resize<coordinate_transformation_mode=\"asymmetric\",nearest_mode=\"floor\">(h,,k) "
                       "z=Resize(a,,l)", 17, {"k": np.float32([1, 1, 1.5, 2]), "l": np.float32([1, 1, 2, 2])}),
    "triangle and sum": ("a=Trilu<upper=0>(h) z=CumSum(a,ax)", 17, {"ax": np.array(2)}),
    "largest": ("a,i=TopK<axis=3>(h,k) b=Cast<to=1>(i) c=Add(a,b) d=ArgMax<axis=1,keepdims=0>(h) e=Cast<to=1>(d) "
                "f=ReduceSum(c,ax) g=Flatten(f) j=Flatten(e) z=Concat<axis=1>(g,j)", 17,
                {"k": np.array([2]), "ax": np.array([1])}),
    "one hot": ("a=ArgMax<axis=1>(h) z=OneHot(a,d,v)", 17, {"d": np.array([4]), "v": np.float32([-1, 2])}),
    "einsum": ("a=Reshape(h,s) b=Einsum<equation=\"nct, cd -> ntd\">(a,m) z=Einsum<equation=\"ntd,nsd->nts\">(b,b)", 17,
               {"s": np.array([0, 4, 36]), "m": W(4, 3)}),
    "products": ("a=Reshape(h,s) t=Transpose<perm=[0,2,1]>(a) b=MatMul(a,t) c=MatMul(b,m) d=Add(c,bias) e=MatMul(l,d) "
                 "z=MatMul(e,three)", 17,
                 {"s": np.array([0, 4, 36]), "m": W(4, 5), "bias": W(5), "l": W(2, 4), "three": W(1, 5, 3)}),
    "gemm": ("a=Flatten(h) b=Gemm<alpha=0.5,beta=2.0>(a,m,c) z=Gemm(b,n)", 17,
             {"m": W(144, 5), "c": W(1, 5), "n": W(5, 3)}),
    "attention": ("a=Reshape(h,s) z=Attention<q_num_heads=2,kv_num_heads=2,is_causal=1>(a,a,a)", 23,
                  {"s": np.array([0, 36, 4])}),
    "constants of shapes": ("a=Shape(h) b=ConstantOfShape<value=float[1]{2.0}>(a) c=Add(h,b) r=Range(zero,four,one) "
                            "d=Cast<to=1>(r) e=Reshape(d,s) f=NonZero(r) g=Size(f) i=Cast<to=1>(g) j=Mul(e,i) "
                            "z=Add(c,j)", 17,
                            {"zero": np.array(0), "four": np.array(4), "one": np.array(1),
                             "s": np.array([1, 4, 1, 1])}),
    "scattered constants": ("a=ScatterND(t,i,u) b=GatherND(a,i) c=Reshape(b,s) z=Add(h,c)", 17, {
        "t": W(4, 4), "i": np.array([[0, 1], [3, 3], [1, 2], [2, 0]]), "u": W(4, seed=1), "s": np.array([1, 4, 1, 1])}),
    "other functions": ("a=Sin(h) b=Cos(a) c=Atan(b) d=Floor(c) e=Ceil(c) f=Round(c) g=Sign(h) i=Add(d,e) j=Add(f,g) "
                        "k=Add(i,j) l=Abs(h) m=Add(l,one) n=Log(m) o=Identity(n) q=Dropout(o) z=Add(k,q)", 17,
                        {"one": np.float32(1)}),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operator_gives_what_the_runtime_does(case: str) -> None:
    body, opset, constants = CASES[case]
    imported = built(behind_conv(body.replace(") ", ")\n"), opset=opset, constants=constants))
    assert imported.compare().largest <= 1e-4


def test_matrix_products_and_convolutions_with_constant_weights_are_layers() -> None:
    network = built(behind_conv(
        "a=Conv(h,w)\nb=Add(a,c)\nd=GlobalAveragePool(b)\ne=Flatten(d)\nf=MatMul(e,m)\nz=Add(f,o)",
        constants={"w": W(6, 4, 3, 3), "c": W(1, 6, 1, 1), "m": W(6, 5), "o": W(5)},
    )).network
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.Conv2d, nn.Linear]
    assert layers[1].bias is not None and layers[2].bias is not None
    torch.testing.assert_close(layers[2].weight, torch.from_numpy(W(6, 5)).t())


@pytest.mark.parametrize(
    ("node", "layer"),
    [("/features/features.1/features.1.0/attn/MatMul", "features.1.0.attn"),
     ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"), ("/fc/MatMul", "fc")],
)
def test_layers_of_unnamed_weights_are_called_as_their_node_says(node: str, layer: str) -> None:
    proto = behind_conv("a=Flatten(h)\nz=MatMul(a,w)", constants={"w": W(144, 3)})
    proto.graph.initializer[1].name = proto.graph.node[2].input[1] = "onnx::MatMul_12"
    proto.graph.node[2].name = node
    network = built(proto).network
    assert isinstance(network.get_submodule(layer), nn.Linear)


def test_a_table_that_is_read_by_token_ids_is_an_embedding_and_shares_its_matrix() -> None:
    proto = model(
        "a=Gather(table,ids)\nt=Transpose<perm=[1,0]>(table)\ny=MatMul(a,t)", inputs="int64[N,5] ids",
        output="float[N,5,11] y", constants={"table": W(11, 6)},
    )
    imported = built(proto)
    embedding, linear = (m for m in imported.network.modules() if isinstance(m, nn.Embedding | nn.Linear))
    assert embedding.weight is linear.weight
    assert (imported.per_token, imported.vocabulary, imported.num_classes) == (True, 11, 11)


def test_the_cases_cover_the_operators() -> None:
    text = " ".join(body for body, _, _ in CASES.values())
    missing = [name for name in known_operators() if f"{name}(" not in text and f"{name}<" not in text]
    assert set(missing) <= {"Silu", "SimplifiedLayerNormalization", "CastLike", "Tan", "Asin", "Acos", "Sinh", "Cosh",
                            "IsNaN", "Equal", "GreaterOrEqual", "LessOrEqual", "ArgMin", "ReduceLogSum", "Swish"}


def test_names_left_empty_are_inputs_and_outputs_that_are_not_given() -> None:
    cases = {name: CASES[name] for name in ("clip", "conv same padding", "conv transposed same", "pools", "casts")}
    for body, opset, constants in cases.values():
        proto = behind_conv(body.replace(") ", ")\n"), opset=opset, constants=constants)
        for node in proto.graph.node:
            schema = defs.get_schema(node.op_type, max_inclusive_version=opset)
            for given, known in ((node.input, schema.inputs), (node.output, schema.outputs)):
                rest = known[len(given):]
                given.extend("" for formal in rest if formal.option == defs.OpSchema.FormalParameterOption.Optional)
        assert built(proto).compare().largest <= 1e-4


@pytest.mark.parametrize("fixed", [None, 2])
def test_a_convolution_of_a_table_of_positions_is_computed(fixed: int | None) -> None:
    body = ("n=Shape<end=1>(x)\ns=Concat<axis=0>(n,lengths)\no=Expand(one,s)\np=CumSum(o,axis)\n"
            "e=Conv(p,w,b)\nt=Conv(table,w,b)\na=Add(h,e)\nz=Add(a,t)")
    proto = behind_conv(body, fixed=fixed, constants={
        "lengths": np.array([2, 6, 6], I64), "one": np.float32([[[[1]]]]), "axis": np.array(3, I64), "w": W(4, 2, 1, 1),
        "b": W(4), "table": W(1, 2, 6, 6),
    })
    assert built(proto).compare().largest <= 1e-4


def test_windows_of_a_file_of_one_sample_are_put_together_again() -> None:
    body = ("a=Transpose<perm=[0,2,3,1]>(h)\nb=Reshape(a,split)\nc=Transpose<perm=[0,1,3,2,4,5]>(b)\n"
            "d=Reshape(c,windows)\ne=MatMul(d,w)\nf=Reshape(e,back)\ng=Transpose<perm=[0,1,3,2,4,5]>(f)\n"
            "i=Reshape(g,whole)\nz=Slice(i,start,end,axes)")
    proto = behind_conv(body, fixed=1, constants={
        "split": np.array([1, 3, 2, 3, 2, 4]), "windows": np.array([9, 4, 4]), "w": W(4, 4),
        "back": np.array([1, 3, 3, 2, 2, 4]), "whole": np.array([1, 6, 6, 4]), "start": np.array([0], I64),
        "end": np.array([5], I64), "axes": np.array([1], I64),
    })
    assert built(proto).compare().largest <= 1e-4


@pytest.mark.parametrize("fixed", [1, 2])
def test_rows_of_tokens_before_samples_are_multiplied_with_a_matrix(fixed: int) -> None:
    """As multi-head attention is exported with a batch of fixed size: tokens first, heads merged into rows."""
    body = ("a=Reshape(h,flat)\nb=Transpose<perm=[2,0,1]>(a)\nc=Reshape(b,split)\nd=Transpose<perm=[1,0,2]>(c)\n"
            "e=Reshape(d,heads)\nf=Transpose<perm=[2,0,1,3]>(e)\ng=Reshape(f,rows)\ni=Gemm<transB=1>(g,w,b)\n"
            "j=Reshape(i,back)\nz=Transpose<perm=[1,0,2]>(j)")
    proto = behind_conv(body.replace("(g,w,b)", "(g,w,v)"), fixed=fixed, constants={
        "flat": np.array([fixed, 4, 36]), "split": np.array([36, 2 * fixed, 2]), "heads": np.array([fixed, 2, 36, 2]),
        "rows": np.array([36 * fixed, 4]), "w": W(5, 4), "v": W(5), "back": np.array([36, fixed, 5]),
    })
    made = built(proto)
    assert made.compare().largest <= 1e-4
    assert [layer.weight.shape for layer in made.network.modules() if isinstance(layer, nn.Linear)] == [(5, 4)]
