//! The questions, as the official client asks them (`wandb` 0.31: `apis/public`, `sdk/artifacts`, `core`).

/// Fields a query asks for, of which a server may not know some.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    wanted: Vec<&'static str>,
    /// What was left out, in the order in which the server refused it.
    pub(super) left_out: Vec<&'static str>,
}

impl Fields {
    pub(super) fn new(wanted: &[&'static str]) -> Self {
        Self { wanted: wanted.to_vec(), left_out: Vec::new() }
    }

    pub(super) fn text(&self) -> String {
        self.wanted.join(" ")
    }

    /// Leaves out the fields that a refusal names. Whether there was one; the first, the name, is never left out.
    pub(super) fn leave_out(&mut self, refusal: &[String]) -> bool {
        let quoted: Vec<&str> =
            refusal.iter().flat_map(|message| message.split(['"', '\'', '`']).skip(1).step_by(2)).collect();
        let words = |field: &str| -> Vec<String> {
            let names = field.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let refused = |field: &str| words(field).iter().any(|name| quoted.contains(&name.as_str()));
        let before = self.wanted.len();
        let mut first = true;
        let left_out = &mut self.left_out;
        self.wanted.retain(|field| {
            let stays = std::mem::take(&mut first) || !refused(field);
            if !stays {
                left_out.push(field);
            }
            stays
        });
        self.wanted.len() < before
    }

    /// The names left out, in words.
    pub(super) fn missing(&self) -> Option<String> {
        let name = |field: &&'static str| field.split(' ').next().unwrap_or_default();
        (!self.left_out.is_empty()).then(|| self.left_out.iter().map(name).collect::<Vec<_>>().join(", "))
    }
}

/// Of the run. All but the last line are in the first public client that could read a run.
pub(super) const RUN: &[&str] = &[
    "name",
    "displayName",
    "state",
    "createdAt",
    "heartbeatAt",
    "config",
    "summaryMetrics",
    "historyLineCount",
    "historyKeys",
    "commit",
    "jobType",
    "group",
    "sweepName", //
    "updatedAt",
    "host",
    "runInfo { program args gpu gpuCount git { remote commit } }",
];

/// Of a file of the run.
pub(super) const FILE: &[&str] = &["name", "sizeBytes", "md5", "updatedAt", "url"];

/// Of an artifact.
pub(super) const ARTIFACT: &[&str] = &[
    "id",
    "versionIndex",
    "digest",
    "state",
    "createdAt",
    "artifactType { name }",
    "artifactSequence { name project { name entity { name } } }",
    "currentManifest { file { directUrl } }",
    "digestAlgorithm",
];

/// A query that asks something of the run.
fn of_run(name: &str, variables: &str, selection: &str) -> String {
    format!(
        "query {name}($entity: String!, $project: String!, $run: String!{variables}) {{ \
         project(name: $project, entityName: $entity) {{ run(name: $run) {{ {selection} }} }} }}"
    )
}

pub(super) fn run(fields: &Fields) -> String {
    of_run("Run", "", &fields.text())
}

/// Rows whose `_step` is at least `minStep` and below `maxStep`: all of them if there are no more than `samples`.
pub(super) fn history() -> String {
    let variables = ", $minStep: Int64!, $maxStep: Int64!, $samples: Int!";
    of_run("HistoryPage", variables, "history(minStep: $minStep, maxStep: $maxStep, samples: $samples)")
}

/// Signed addresses of parquet files with the history, and `liveKeys` of the rows that are in none yet.
pub(super) fn parquet() -> String {
    let selection = "parquetHistory(liveKeys: $liveKeys) { parquetUrls liveData }";
    of_run("RunParquetHistory", ", $liveKeys: [String!]!", selection)
}

/// Artifacts of the run with addresses of their files; those of the type `wandb-history` hold the history.
pub(super) fn history_artifacts() -> String {
    let node = "versionIndex artifactType { name } files(first: 1001) { edges { node { name directUrl } } }";
    of_run(
        "RunHistoryArtifacts",
        ", $first: Int",
        &format!("page: outputArtifacts(first: $first) {{ edges {{ node {{ {node} }} }} }}"),
    )
}

/// Measurements of the machine, thinned to `samples` rows.
pub(super) fn events() -> String {
    of_run("Events", ", $samples: Int", "events(samples: $samples)")
}

pub(super) fn files(fields: &Fields) -> String {
    let page = page(fields, "files(first: $first, after: $after)");
    of_run("RunFiles", ", $first: Int, $after: String", &page)
}

/// `connection` is `outputArtifacts` or `inputArtifacts`.
pub(super) fn artifacts(connection: &str, fields: &Fields) -> String {
    let page = page(fields, &format!("{connection}(first: $first, after: $after)"));
    of_run("RunArtifacts", ", $first: Int, $after: String", &page)
}

fn page(fields: &Fields, connection: &str) -> String {
    format!("page: {connection} {{ edges {{ node {{ {} }} }} pageInfo {{ endCursor hasNextPage }} }}", fields.text())
}

#[cfg(test)]
mod tests {
    use super::{Fields, RUN};

    #[test]
    fn only_fields_that_the_refusal_names_are_left_out() {
        let mut fields = Fields::new(RUN);
        let refusal =
            [r#"Cannot query field "gpuCount" on type "RunInfo"."#, "Cannot query field 'host' on type 'Run'."];
        assert!(fields.leave_out(&refusal.map(str::to_owned)));
        assert_eq!(fields.missing().as_deref(), Some("host, runInfo"));
        assert!(!fields.text().contains("gpu") && fields.text().contains("updatedAt"));
        assert!(!fields.leave_out(&["internal error".into()]));
        assert!(!fields.leave_out(&[r#"Cannot query field "name" on type "Run""#.into()]), "the first stays");
    }
}
