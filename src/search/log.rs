//! The results file: one line of JSON for each trial.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::run::Job;
use super::{Point, Status, TrialRecord, Value};
use crate::{Error, Result};

/// An open results file, and what it held.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
    records: Vec<TrialRecord>,
    pub(super) unreadable: Vec<String>,
}

const FORMAT: &str = "search results";

impl Log {
    /// Opens or makes the file of the search that `plan` describes.
    pub(super) fn open(path: &Path, plan: &str) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path);
        let file = file.map_err(|source| failed("open", path, source))?;
        let mut log = Self { file, path: path.into(), records: Vec::new(), unreadable: Vec::new() };
        let mut bytes = Vec::new();
        let read = log.file.seek(SeekFrom::Start(0)).and_then(|_| log.file.read_to_end(&mut bytes));
        read.map_err(|source| failed("read", path, source))?;
        let headers = log.read(&bytes, plan)?;
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            // A line that was cut short stays alone.
            log.append("")?;
        }
        if headers == 0 {
            if !log.records.is_empty() {
                return Err(log.wrong("no readable line says which search the trials belong to"));
            }
            log.append(&json!({ "search": plan }).to_string())?;
        }
        Ok(log)
    }

    /// Reads all lines; returns how many said which search this is.
    fn read(&mut self, bytes: &[u8], plan: &str) -> Result<usize> {
        let mut headers = 0;
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let parsed = serde_json::from_slice::<Json>(line).map_err(|error| error.to_string());
            let known = parsed.and_then(|json| match json.get("search").and_then(Json::as_str) {
                Some(known) => Ok(Some(known.to_string())),
                None => {
                    self.records.push(record(&json)?);
                    Ok(None)
                }
            });
            match known {
                Ok(None) => {}
                Ok(Some(known)) if known == plan => headers += 1,
                Ok(Some(known)) => {
                    let text =
                        format!("line {number} belongs to another search: {known:?}, not {plan:?}");
                    return Err(self.wrong(&text));
                }
                Err(why) => self.unreadable.push(format!("line {number}: {why}")),
            }
        }
        Ok(headers)
    }

    fn wrong(&self, message: &str) -> Error {
        let path = self.path.display();
        Error::format(FORMAT, format!("{path}: {message}; give another path, or remove the file"))
    }

    /// The record of a job.
    pub(super) fn find(&self, job: &Job) -> Option<TrialRecord> {
        // An object's names come in any order.
        let same_point = |point: &Point| {
            point.0.len() == job.point.0.len()
                && point.iter().all(|(name, value)| job.point.get(name) == Some(value))
        };
        let same = |record: &&TrialRecord| {
            (record.id, record.stage, record.budget) == (job.id, job.stage, job.budget)
                && same_point(&record.point)
        };
        let found = self.records.iter().find(same).cloned();
        found.map(|record| TrialRecord { point: job.point.clone(), ..record })
    }

    /// Adds a line.
    pub(super) fn write(&mut self, record: &TrialRecord) -> Result<()> {
        let point: Map<String, Json> = (record.point.iter())
            .map(|(name, value)| (name.to_string(), value_to_json(value)))
            .collect();
        let (status, result) = match &record.status {
            Status::Done(value) => ("done", json!(value)),
            Status::Aborted(why) => ("aborted", json!(why)),
            Status::Failed(why) => ("failed", json!(why)),
        };
        let line = json!({
            "trial": record.id, "stage": record.stage, "budget": record.budget, "point": point,
            "status": status, "result": result, "reports": record.reports,
        });
        self.append(&line.to_string())
    }

    /// In one call, so that a line is there or not.
    fn append(&mut self, line: &str) -> Result<()> {
        let done =
            self.file.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.file.flush());
        done.map_err(|source| failed("write", &self.path, source))
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.into(), source }
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Number(x) => json!({ "number": x }),
        Value::Integer(x) => json!(x),
        Value::Choice(x) => json!(x),
    }
}

fn record(json: &Json) -> Result<TrialRecord, String> {
    let field = |name: &str| json.get(name).ok_or_else(|| format!("it has no {name}"));
    let whole = |name: &str| {
        field(name)?.as_u64().ok_or_else(|| format!("{name} must be a whole number of at least 0"))
    };
    let result = field("result")?;
    let text = || result.as_str().map(String::from).ok_or("result must be a text");
    let status = match field("status")?.as_str() {
        Some("done") => Status::Done(result.as_f64().ok_or("result must be a number")?),
        Some("aborted") => Status::Aborted(text()?),
        Some("failed") => Status::Failed(text()?),
        _ => return Err("status must be done, aborted or failed".into()),
    };
    let point = field("point")?.as_object().ok_or("point must be an object")?;
    let point = point.iter().map(|(name, json)| Ok((name.clone(), value(name, json)?)));
    let reports = field("reports")?.as_array().ok_or("reports must be a list")?;
    Ok(TrialRecord {
        id: whole("trial")?,
        stage: whole("stage")?,
        budget: whole("budget")?,
        point: point.collect::<Result<Point, String>>()?,
        status,
        // JSON has no NaN: it is written as null.
        reports: reports.iter().map(|json| json.as_f64().unwrap_or(f64::NAN)).collect(),
    })
}

fn value(name: &str, json: &Json) -> Result<Value, String> {
    let number = json.get("number").and_then(Json::as_f64).map(Value::Number);
    number
        .or_else(|| json.as_i64().map(Value::Integer))
        .or_else(|| json.as_str().map(|text| Value::Choice(text.into())))
        .ok_or_else(|| format!("{name} must be a number, a whole number or a choice"))
}
