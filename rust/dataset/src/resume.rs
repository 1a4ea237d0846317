//! Resuming: compares what a loader was given with the schedule of a saved state.
//!
//! A source is recognised by its name, else by its content. What was given describes the last
//! segment of the schedule; if it differs, the state is refused, or a new segment begins at the
//! position of the state.

use lslm_runtime::{Error, Result, Task, hex};

use crate::plan::{OnChange, Plan, PlanOptions};
use crate::schedule::{Schedule, Segment, SourceKey, content_of, content_tokens};
use crate::state::LoaderState;
use crate::weight::Weight;

impl Plan {
    /// Returns the plan of the same datasets by the schedule of `state`, with a new segment if what
    /// was given differs and `on_change` allows it.
    ///
    /// [`Error::Mismatch`] names the first difference.
    pub fn resumed(&self, state: &LoaderState, on_change: OnChange) -> Result<Self> {
        let own = self.options();
        let pairs = [
            ("seed", own.seed.to_string(), state.seed.to_string()),
            ("shuffle", own.shuffle.to_string(), state.shuffle.to_string()),
        ];
        if let Some((what, expected, found)) = pairs.into_iter().find(|(_, a, b)| a != b) {
            return Err(mismatch(what, expected, found));
        }
        if self.unit() != state.max_sequence_length {
            let text = "longest sequence_length, of which a shorter one must be a part \
                        (max_sequence_length=),";
            let (own, saved) = (self.unit().to_string(), state.max_sequence_length.to_string());
            return Err(mismatch(text, own, saved));
        }
        let mut schedule = state.schedule.clone();
        let segment = self.segment_given(&mut schedule, state.position.samples)?;
        let Some(last) = state.schedule.segments.last() else { return Ok(self.clone()) };
        if let Some((what, expected, found)) = difference(&schedule, last, &segment) {
            if on_change == OnChange::Refuse {
                let hint = "on_change=\"new segment\" continues with what the loader was given";
                return Err(mismatch(what, expected, format!("{found}; {hint}")));
            }
            schedule.begin_segment(segment)?;
        }
        self.clone().with_schedule(schedule, &Task::default())
    }

    /// Returns what was given as a segment from sample `from` on; new sources are appended to
    /// `schedule`.
    fn segment_given(&self, schedule: &mut Schedule, from: u64) -> Result<Segment> {
        let mut weights = vec![Weight::default(); schedule.sources.len()];
        for (index, weight) in self.weights.iter().enumerate() {
            let entry = self.entry_of(index, schedule)?;
            weights.resize(schedule.sources.len(), Weight::default());
            if weights[entry].is_present() {
                return Err(Error::invalid(format!(
                    "two of the loader's sources are source {:?} of the saved state: give each the \
                     name it had",
                    schedule.sources[entry].label()
                )));
            }
            weights[entry] = *weight;
        }
        let PlanOptions { sequence_length, packing, mask_borders, .. } = self.options();
        let sequence_length = sequence_length as u64;
        Ok(Segment { from, skip: 0, sequence_length, packing, mask_borders, weights })
    }

    /// Returns which source of `schedule` the given source `index` is; a new or larger one is
    /// appended.
    fn entry_of(&self, index: usize, schedule: &mut Schedule) -> Result<usize> {
        let dataset = &self.sources()[index];
        let fingerprint = dataset.fingerprint();
        let content = content_of(&fingerprint);
        let append = |schedule: &mut Schedule, name: &str| {
            schedule.sources.push(SourceKey::new(name, &fingerprint));
            schedule.sources.len() - 1
        };
        if let Some(name) = &self.names[index]
            && let Some(entry) = schedule.latest(name)
        {
            let saved = schedule.sources[entry].content;
            if saved == content {
                return Ok(entry);
            }
            if content_tokens(dataset, saved).is_some() {
                return Ok(append(schedule, name));
            }
            return Err(Error::Mismatch {
                what: format!("the data of source {name:?} and the saved state's"),
                expected: hex(&content),
                found: format!("{}; give other data another name", hex(&saved)),
            });
        }
        if let Some(entry) = schedule.sources.iter().rposition(|key| key.content == content) {
            return Ok(entry);
        }
        let grown = schedule.sources.iter().rposition(|key| {
            let is_latest = schedule.latest(&key.name).map(|latest| &schedule.sources[latest]);
            is_latest == Some(key) && content_tokens(dataset, key.content).is_some()
        });
        if let Some(entry) = grown {
            let name = schedule.sources[entry].name.clone();
            return Ok(append(schedule, &name));
        }
        let name = self.names[index].clone().unwrap_or_else(|| hex(&content));
        Ok(append(schedule, &name))
    }
}

fn mismatch(what: &str, expected: String, found: String) -> Error {
    Error::Mismatch { what: format!("the loader's {what} and the saved state's"), expected, found }
}

/// Returns what differs between the last segment of a state and what a loader was given.
fn difference(
    schedule: &Schedule,
    last: &Segment,
    given: &Segment,
) -> Option<(&'static str, String, String)> {
    let present = |segment: &Segment| -> Vec<usize> {
        (0..schedule.sources.len()).filter(|index| segment.weight(*index).is_present()).collect()
    };
    let (before, now) = (present(last), present(given));
    if before != now {
        let texts = |sources: &[usize]| {
            let texts = sources.iter().map(|index| schedule.sources[*index].text());
            texts.collect::<Vec<_>>().join(" ")
        };
        return Some(("data", texts(&now), texts(&before)));
    }
    let settings = |segment: &Segment| {
        let Segment { sequence_length, packing, mask_borders, .. } = segment;
        [sequence_length.to_string(), packing.name().to_owned(), mask_borders.to_string()]
    };
    let names = ["sequence_length", "packing", "mask_borders"];
    let pairs = settings(given).into_iter().zip(settings(last));
    if let Some((what, (own, saved))) = names.into_iter().zip(pairs).find(|(_, (a, b))| a != b) {
        return Some((what, own, saved));
    }
    let is_equal = now.iter().all(|index| last.weight(*index) == given.weight(*index));
    (!is_equal).then(|| {
        let texts = |segment: &Segment| {
            let texts = now.iter().map(|index| {
                format!(
                    "{} {:.6}",
                    schedule.sources[*index].label(),
                    segment.weight(*index).share()
                )
            });
            texts.collect::<Vec<_>>().join(", ")
        };
        ("weights", texts(given), texts(last))
    })
}
