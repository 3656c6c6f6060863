//! Questions to the service and what its answers mean.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::queries::Fields;
use super::{Address, Bounds};
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::json::fits;
use scratchproof_error::{Error, Result};
use scratchproof_source::{Service, ServiceReply};
use scratchproof_texts::{Text, text};

/// One conversation with the service about one run.
pub(super) struct Client<'a> {
    service: Service,
    address: &'a Address,
    pub(super) bounds: &'a Bounds,
    name: String,
    started: Instant,
    bytes: u64,
    sha: Sha256,
    /// What the server said against answers that it gave nevertheless.
    complaints: BTreeSet<String>,
}

/// What came of a question.
pub(super) enum Told {
    /// The run's part of the answer, an object.
    Run(Map<String, Value>),
    /// The server does not understand the question; its words.
    Refused(Vec<String>),
}

impl<'a> Client<'a> {
    pub(super) fn new(service: Service, address: &'a Address, bounds: &'a Bounds) -> Self {
        let name = address.to_string();
        Self {
            service,
            address,
            bounds,
            name,
            started: Instant::now(),
            bytes: 0,
            sha: Sha256::new(),
            complaints: BTreeSet::new(),
        }
    }

    /// Where the service is.
    pub(super) fn place(&self) -> String {
        self.service.address()
    }

    /// Adds something read to the digest.
    pub(super) fn digest(&mut self, kind: &str, content: &[u8]) {
        for part in [kind.as_bytes(), b"\t", content, b"\n"] {
            self.sha.update(part);
        }
    }

    /// Adds something read to the digest, in a form that does not depend on the order of its fields.
    pub(super) fn digest_json(&mut self, kind: &str, value: &Value) {
        let mut text = String::new();
        canonical(value, &mut text);
        self.digest(kind, text.as_bytes());
    }

    /// What the server said against answers that it gave nevertheless, ten at most.
    pub(super) fn complaints(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Bytes read, and the digest.
    pub(super) fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.sha.finalize()))
    }

    /// Asks about the run; fields that the server does not know are left out of `fields` and the rest is asked again.
    pub(super) fn ask_for(
        &mut self,
        fields: &mut Fields,
        query: impl Fn(&Fields) -> String,
        variables: &Value,
    ) -> Result<Map<String, Value>> {
        loop {
            match self.ask(&query(fields), variables)? {
                Told::Run(run) => return Ok(run),
                Told::Refused(words) if fields.leave_out(&words) => {}
                Told::Refused(words) => return Err(self.refused(&words)),
            }
        }
    }

    /// Asks about the run.
    pub(super) fn ask(&mut self, query: &str, variables: &Value) -> Result<Told> {
        let mut all = json!({
            "entity": self.address.entity, "project": self.address.project, "run": self.address.run,
        });
        if let (Some(all), Some(more)) = (all.as_object_mut(), variables.as_object()) {
            all.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        self.within()?;
        let question = json!({ "query": query, "variables": all }).to_string();
        let reply = self.service.post(&["graphql"], question.as_bytes(), &self.name, self.bounds.answer)?;
        self.count(reply.bytes)?;
        self.answer(&reply)
    }

    /// A file whose address the service gave.
    pub(super) fn file(&mut self, address: &str, what: &str) -> Result<Vec<u8>> {
        self.within()?;
        let name = format!("{}: {what}", self.name);
        let reply = self.service.get(address, &name, self.bounds.answer)?;
        let reply = reply.map_err(|status| {
            Error::refused(text!("error-source/network/answers", status = status.to_string())).context(&name)
        })?;
        self.count(reply.bytes)?;
        Ok(reply.body)
    }

    /// What the server said and this tool cannot use.
    pub(super) fn refused(&self, words: &[String]) -> Error {
        let words = self.service.quote(&words.join("; "));
        Error::input(text!(
            "error-record/client/service-refuses-question",
            name = &self.name,
            place = self.place(),
            words
        ))
    }

    /// Something is not as the service's rules have it.
    pub(super) fn broken(&self, why: Text) -> Error {
        Error::input(text!("error-record/client/service", name = &self.name, place = self.place(), why))
    }

    /// Something is too large to be read this way.
    pub(super) fn exceeded(&self, what: Text) -> Error {
        Error::input(text!("error-record/client/more", name = &self.name, what))
    }

    fn within(&self) -> Result<()> {
        if self.started.elapsed() > self.bounds.time {
            return Err(self.exceeded(text!("error-record/client/seconds-reading", time = self.bounds.time.as_secs())));
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        if self.bytes > self.bounds.bytes {
            return Err(self.exceeded(text!("error-record/client/bytes-answers", bytes = &self.bounds.bytes)));
        }
        Ok(())
    }

    fn answer(&mut self, reply: &ServiceReply) -> Result<Told> {
        fits(&reply.body)?;
        let mut answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let (words, denied) = errors(&answer);
        match reply.status {
            401 => return Err(self.unknown_key()),
            404 if words.is_empty() => {
                return Err(self.broken(text!("error-record/client/no-graphql-wandb-base")));
            }
            403 | 404 => return Err(self.missing()),
            200 | 400 | 422 => {}
            status => return Err(self.broken(text!("error-record/client/answers", status = status.to_string()))),
        }
        let project = answer.get_mut("data").and_then(|data| data.get_mut("project"));
        match project {
            Some(Value::Object(project)) => match project.remove("run") {
                Some(Value::Object(run)) if words.is_empty() || run.values().any(|value| !value.is_null()) => {
                    let room = 10_usize.saturating_sub(self.complaints.len());
                    self.complaints.extend(words.iter().take(room).map(|words| self.service.quote(words)));
                    Ok(Told::Run(run))
                }
                Some(Value::Null) | None if words.is_empty() || denied => Err(self.missing()),
                _ if !words.is_empty() => Ok(Told::Refused(words)),
                _ => Err(self.broken(text!("error-record/client/answers-something-no-run"))),
            },
            _ if denied => Err(self.missing()),
            _ if !words.is_empty() => Ok(Told::Refused(words)),
            Some(Value::Null) => Err(self.missing()),
            _ if reply.body.is_empty() => Err(self.broken(text!("error-record/client/answers-nothing"))),
            _ => Err(self.broken(text!("error-record/client/answers-something-no-answer"))),
        }
    }

    fn unknown_key(&self) -> Error {
        let why = if self.service.has_key() {
            text!("error-record/client/key-refused")
        } else {
            text!("error-record/client/key-wanted")
        };
        Error::refused(text!("error-record/client/of-service", place = self.place(), why)).context(&self.name)
    }

    fn missing(&self) -> Error {
        self.broken(text!("error-record/client/shows-no-such-run", key = self.service.has_key()))
    }
}

/// The messages of an answer, and whether one says that it is not allowed or not there.
fn errors(answer: &Value) -> (Vec<String>, bool) {
    let mut denied = false;
    let messages = answer.get("errors").and_then(Value::as_array).into_iter().flatten().map(|error| {
        let code = error.pointer("/extensions/code").and_then(Value::as_str).unwrap_or_default();
        let message = error.get("message").and_then(Value::as_str).or(error.as_str()).unwrap_or("no reason");
        let said = message.to_ascii_lowercase();
        denied |= matches!(code, "PERMISSION_ERROR" | "NOT_FOUND")
            || ["permission denied", "not found", "not logged in", "could not find"]
                .iter()
                .any(|why| said.contains(why));
        message.to_owned()
    });
    let messages: Vec<String> = messages.take(20).collect();
    (messages, denied)
}

/// JSON with sorted keys and without spaces; addresses, which are signed anew for each answer, are left out.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<_> =
                object.iter().filter(|(name, _)| !matches!(name.as_str(), "url" | "directUrl")).collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (number, (name, value)) in fields.into_iter().enumerate() {
                text.push_str(if number == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (number, value) in list.iter().enumerate() {
                text.push_str(if number == 0 { "" } else { "," });
                canonical(value, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, json};

    #[test]
    fn the_canonical_form_knows_no_order_and_no_addresses() {
        let form = |value| {
            let mut text = String::new();
            canonical(&value, &mut text);
            text
        };
        assert_eq!(form(json!({"b": [1, {"url": "u", "d": null}], "a": "x\n"})), r#"{"a":"x\n","b":[1,{"d":null}]}"#);
    }
}
