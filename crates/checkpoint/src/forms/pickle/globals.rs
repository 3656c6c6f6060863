//! The names that may stand in a checkpoint's pickle, and what each stands for. There are no others.

use super::Kind;
use crate::Dtype;

/// What a name stands for. None of these is code.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::forms) enum Global {
    /// A dict, whatever its class adds.
    Dict,
    /// A set or frozenset, kept as a list.
    Set,
    /// `torch.Size`.
    Size,
    /// `_rebuild_tensor`, `_rebuild_tensor_v2`: a view of a typed storage.
    Tensor,
    /// `_rebuild_tensor_v3`: the tensor names its type.
    TypedTensor,
    /// A parameter around a tensor.
    Parameter,
    /// A tensor whose numbers are not a run of a storage, with the reason why it is not read.
    Absent(&'static str),
    /// `_rebuild_qtensor`.
    Quantised,
    /// `_rebuild_from_type_v2`: one of the above with attributes.
    FromType,
    /// The value as it is: type tags and typed lists of `TorchScript`.
    Same,
    /// Bytes written as text (`_codecs.encode` to latin1, which is how protocol 2 writes them).
    Latin1,
    /// `copyreg._reconstructor`.
    Reconstruct,
    /// A storage class.
    Storage(Kind),
    /// A number format.
    Format(Kind),
    /// An object of which the fields are data.
    Record,
    /// As that, of a class of the user's own script (its name).
    Foreign(Box<str>),
}

/// Classes whose objects trainers write beside the weights: only their fields are read. A name that ends with a dot
/// stands for every class below it.
const RECORDS: &[&str] = &[
    "_io.BytesIO",
    "argparse.Namespace",
    "builtins.complex",
    "builtins.object",
    "builtins.range",
    "builtins.slice",
    "copy_reg.object",
    "datetime.",
    "decimal.Decimal",
    "deepspeed.runtime.fp16.loss_scaler.",
    "deepspeed.runtime.zero.config.",
    "deepspeed.utils.tensor_fragment.",
    "enum.",
    "fractions.Fraction",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.types.",
    "lightning.pytorch.callbacks.",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.types.",
    "megatron.core.enums.",
    "megatron.core.rerun_state_machine.",
    "megatron.core.transformer.enums.",
    "megatron.core.transformer.transformer_config.",
    "megatron.enums.",
    "megatron.model.enums.",
    "megatron.training.arguments.",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "omegaconf.base.",
    "omegaconf.dictconfig.",
    "omegaconf.listconfig.",
    "omegaconf.nodes.",
    "pathlib.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "signal.Handlers",
    "signal.Signals",
    "torch.Tensor",
    "torch.contiguous_format",
    "torch.channels_last",
    "torch.device",
    "torch.distributed.checkpoint.",
    "torch.nn.parameter.Parameter",
    "torch.per_channel_affine",
    "torch.per_channel_affine_float_qparams",
    "torch.per_tensor_affine",
    "torch.preserve_format",
    "torch.serialization._get_layout",
    "torch.strided",
    "torch.torch_version.TorchVersion",
    "types.SimpleNamespace",
    "typing.Any",
    "uuid.SafeUUID",
    "uuid.UUID",
];

impl Global {
    /// What `module.name` stands for, if it may stand in a checkpoint. `scripted` are the archives of `TorchScript`, which
    /// hold the module's attributes as objects of classes below `__torch__`.
    pub(super) fn of(module: &str, name: &str, scripted: bool) -> Option<Self> {
        let full = format!("{module}.{name}");
        Some(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict" | "Counter")
            | ("builtins" | "__builtin__", "dict")
            | ("transformers.utils.generic", "ModelOutput") => Self::Dict,
            ("builtins" | "__builtin__", "set" | "frozenset") => Self::Set,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TypedTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::Parameter,
            ("torch._utils", "_rebuild_qtensor") => Self::Quantised,
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
                Self::Absent("it is sparse, and is not compared: save `tensor.to_dense()`")
            }
            ("torch._utils", "_rebuild_meta_tensor_no_storage") => {
                Self::Absent("it was saved on torch's meta device and has no values")
            }
            ("torch._utils", "_rebuild_nested_tensor") => {
                Self::Absent("it is a nested tensor, which is not read: save its parts")
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::FromType,
            // Classes of plain values, as a `defaultdict` names the one it makes missing keys of: what they are called with.
            (
                "torch.jit._pickle",
                "build_intlist" | "build_tensorlist" | "build_doublelist" | "build_boollist" | "restore_type_tag",
            )
            | (
                "builtins" | "__builtin__",
                "int" | "long" | "float" | "str" | "unicode" | "bool" | "bytes" | "bytearray" | "list" | "tuple",
            ) => Self::Same,
            ("_codecs", "encode") => Self::Latin1,
            ("copyreg" | "copy_reg", "_reconstructor") => Self::Reconstruct,
            ("torch" | "torch.storage" | "torch.cuda", _) if name.ends_with("Storage") => Self::Storage(storage(name)?),
            ("torch", _) if format(name).is_some() => Self::Format(format(name)?),
            ("__main__", _) => Self::Foreign(full.into()),
            _ if scripted && module.starts_with("__torch__") => Self::Record,
            _ if RECORDS.iter().any(|known| full == *known || known.ends_with('.') && full.starts_with(known)) => {
                Self::Record
            }
            _ => return None,
        })
    }
}

/// The elements of a storage class.
fn storage(name: &str) -> Option<Kind> {
    Some(match name {
        "DoubleStorage" => Kind::Numbers(Dtype::F64),
        "FloatStorage" => Kind::Numbers(Dtype::F32),
        "HalfStorage" => Kind::Numbers(Dtype::F16),
        "BFloat16Storage" => Kind::Numbers(Dtype::Bf16),
        "LongStorage" => Kind::Numbers(Dtype::I64),
        "IntStorage" => Kind::Numbers(Dtype::I32),
        "ShortStorage" => Kind::Numbers(Dtype::I16),
        "CharStorage" => Kind::Numbers(Dtype::I8),
        "ByteStorage" => Kind::Numbers(Dtype::U8),
        "BoolStorage" => Kind::Numbers(Dtype::Bool),
        "UntypedStorage" | "TypedStorage" => Kind::Untyped,
        "ComplexFloatStorage" => Kind::Other("complex64", 8),
        "ComplexDoubleStorage" => Kind::Other("complex128", 16),
        "QInt8Storage" => Kind::Other("qint8", 1),
        "QUInt8Storage" => Kind::Other("quint8", 1),
        "QInt32Storage" => Kind::Other("qint32", 4),
        "QUInt4x2Storage" => Kind::Other("quint4x2", 1),
        "QUInt2x4Storage" => Kind::Other("quint2x4", 1),
        _ => return None,
    })
}

/// A number format by its name in torch.
fn format(name: &str) -> Option<Kind> {
    Some(match name {
        "float64" | "double" => Kind::Numbers(Dtype::F64),
        "float32" | "float" => Kind::Numbers(Dtype::F32),
        "float16" | "half" => Kind::Numbers(Dtype::F16),
        "bfloat16" => Kind::Numbers(Dtype::Bf16),
        "float8_e4m3fn" => Kind::Numbers(Dtype::F8E4M3),
        "float8_e5m2" => Kind::Numbers(Dtype::F8E5M2),
        "int64" | "long" => Kind::Numbers(Dtype::I64),
        "int32" | "int" => Kind::Numbers(Dtype::I32),
        "int16" | "short" => Kind::Numbers(Dtype::I16),
        "int8" => Kind::Numbers(Dtype::I8),
        "uint64" => Kind::Numbers(Dtype::U64),
        "uint32" => Kind::Numbers(Dtype::U32),
        "uint16" => Kind::Numbers(Dtype::U16),
        "uint8" => Kind::Numbers(Dtype::U8),
        "bool" => Kind::Numbers(Dtype::Bool),
        "float8_e4m3fnuz" => Kind::Other("float8_e4m3fnuz", 1),
        "float8_e5m2fnuz" => Kind::Other("float8_e5m2fnuz", 1),
        "float8_e8m0fnu" => Kind::Other("float8_e8m0fnu", 1),
        "float4_e2m1fn_x2" => Kind::Other("float4_e2m1fn_x2", 1),
        "complex32" => Kind::Other("complex32", 4),
        "complex64" => Kind::Other("complex64", 8),
        "complex128" => Kind::Other("complex128", 16),
        "qint8" => Kind::Other("qint8", 1),
        "quint8" => Kind::Other("quint8", 1),
        "qint32" => Kind::Other("qint32", 4),
        _ => return None,
    })
}
