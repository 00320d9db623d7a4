//! Which of the reference data is not checked, computed from the table of checks.

use std::collections::BTreeSet;

use super::TABLE;
use super::cases::{Case, Set};

/// Kinds that are not in the crate yet. The list can only shrink: a kind in the data that is neither
/// checked nor listed is a failure, and so is a listed one that is checked. A network is left out only
/// for parts that are listed.
const NOT_YET: &[&str] = &[];

/// A complaint about a case that was left out for a part that is not listed.
pub(super) fn unlisted(case: &Case, parts: &[String]) -> Option<String> {
    let parts: Vec<_> = parts.iter().filter(|part| !NOT_YET.contains(&part.as_str())).collect();
    (!parts.is_empty())
        .then(|| format!("{}: left out for {parts:?}, which NOT_YET does not list", case.name))
}

#[test]
fn every_kind_in_the_data_is_checked_or_listed_as_not_yet_there() {
    let has_row =
        |case: &&Case| TABLE.iter().any(|row| row.group == case.group && row.kind == case.kind);
    let unchecked: BTreeSet<_> = (Set::get().cases.iter())
        .filter(|case| !has_row(case) && !NOT_YET.contains(&case.kind.as_str()))
        .map(|case| (&case.group, &case.kind))
        .collect();
    assert!(unchecked.is_empty(), "neither checked nor listed in NOT_YET: {unchecked:?}");
}

#[test]
fn no_kind_that_is_checked_is_still_listed_as_not_yet_there() {
    let stale: Vec<_> =
        TABLE.iter().map(|row| row.kind).filter(|kind| NOT_YET.contains(kind)).collect();
    assert!(stale.is_empty(), "checked, so remove from NOT_YET: {stale:?}");
}

/// Other folders may lack a kind; the crate's own has all.
#[test]
fn every_checked_or_listed_kind_is_in_the_data_of_the_crate() {
    let set = Set::get();
    if !set.is_default {
        return;
    }
    let in_data = |kind: &str| set.cases.iter().any(|case| case.kind == kind);
    let unknown: Vec<_> = NOT_YET.iter().filter(|kind| !in_data(kind)).collect();
    assert!(unknown.is_empty(), "no such kind in the data: {unknown:?}");
    let idle = TABLE.iter().filter(|row| set.of(row.group, row.kind).next().is_none());
    let idle: Vec<_> = idle.map(|row| (row.group, row.kind)).collect();
    assert!(idle.is_empty(), "checks without a case: {idle:?}");
}
