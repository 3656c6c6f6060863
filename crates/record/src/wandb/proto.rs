//! The part of W&B's `wandb_internal.proto` that an audit needs. Fields that are not declared are skipped, so the schema
//! may grow. Tags were compared with the official descriptor (SDK 0.31) and read from files of SDK 0.10 to 0.31.
//! What is logged at every step (history, summary, measurements, output) and what may be very long (artifacts) is not
//! decoded with these but read in place.

#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(message, optional, tag = "2")]
    pub history: Option<HistoryRecord>,
    #[prost(message, optional, tag = "5")]
    pub config: Option<ConfigRecord>,
    #[prost(message, optional, tag = "11")]
    pub telemetry: Option<TelemetryRecord>,
    #[prost(message, optional, tag = "17")]
    pub run: Option<RunRecord>,
    #[prost(message, optional, tag = "18")]
    pub exit: Option<ExitRecord>,
    #[prost(message, optional, tag = "21")]
    pub header: Option<HeaderRecord>,
    #[prost(message, optional, tag = "26")]
    pub environment: Option<EnvironmentRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HistoryRecord {
    #[prost(message, repeated, tag = "1")]
    pub item: Vec<Item>,
    #[prost(message, optional, tag = "2")]
    pub step: Option<HistoryStep>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HistoryStep {
    #[prost(int64, tag = "1")]
    pub num: i64,
}

/// A named JSON value: `key` in old writers, `nested_key` in new ones.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, repeated, tag = "2")]
    pub nested_key: Vec<String>,
    #[prost(string, tag = "16")]
    pub value_json: String,
}

impl Item {
    /// The name, the parts of a nested one joined with dots.
    pub fn name(&self) -> String {
        if self.nested_key.is_empty() { self.key.clone() } else { self.nested_key.join(".") }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigRecord {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<Item>,
    #[prost(message, repeated, tag = "2")]
    pub remove: Vec<Item>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RunRecord {
    #[prost(string, tag = "1")]
    pub run_id: String,
    #[prost(string, tag = "2")]
    pub entity: String,
    #[prost(string, tag = "3")]
    pub project: String,
    #[prost(message, optional, tag = "4")]
    pub config: Option<ConfigRecord>,
    #[prost(string, tag = "8")]
    pub display_name: String,
    #[prost(string, tag = "13")]
    pub host: String,
    #[prost(int64, tag = "14")]
    pub starting_step: i64,
    #[prost(message, optional, tag = "17")]
    pub start_time: Option<Timestamp>,
    #[prost(bool, tag = "18")]
    pub resumed: bool,
    #[prost(message, optional, tag = "19")]
    pub telemetry: Option<TelemetryRecord>,
    #[prost(message, optional, tag = "21")]
    pub git: Option<GitRecord>,
    #[prost(message, optional, tag = "23")]
    pub branch_point: Option<BranchPoint>,
}

/// Where a forked or rewound run leaves the other.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BranchPoint {
    #[prost(string, tag = "1")]
    pub run: String,
    #[prost(double, tag = "2")]
    pub value: f64,
    #[prost(string, tag = "3")]
    pub metric: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GitRecord {
    #[prost(string, tag = "1")]
    pub remote_url: String,
    #[prost(string, tag = "2")]
    pub commit: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TelemetryRecord {
    #[prost(string, tag = "5")]
    pub cli_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ExitRecord {
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderRecord {
    #[prost(message, optional, tag = "1")]
    pub version_info: Option<VersionInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct VersionInfo {
    #[prost(string, tag = "1")]
    pub producer: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct EnvironmentRecord {
    #[prost(message, optional, tag = "3")]
    pub started_at: Option<Timestamp>,
    #[prost(string, repeated, tag = "5")]
    pub args: Vec<String>,
    #[prost(string, tag = "6")]
    pub program: String,
    #[prost(message, optional, tag = "9")]
    pub git: Option<GitRecord>,
    #[prost(string, tag = "12")]
    pub host: String,
    #[prost(string, tag = "18")]
    pub gpu_type: String,
    #[prost(uint32, tag = "19")]
    pub gpu_count: u32,
    #[prost(message, repeated, tag = "24")]
    pub gpu_nvidia: Vec<NvidiaInfo>,
    #[prost(message, optional, tag = "29")]
    pub tpu: Option<TpuInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct NvidiaInfo {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TpuInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "4")]
    pub count: u32,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
