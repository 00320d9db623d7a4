//! The loop around forward, loss, backward and step. A convenience: everything works from your own loop.
//!
//! | to | see |
//! |---|---|
//! | take single steps, or epochs | [`Trainer::step`], [`Trainer::epoch`] |
//! | run the whole: epochs, validation, metrics | [`Trainer::fit`], which returns a [`History`] |
//! | take part in a run, or stop it | [`Callback`], [`EpochEnd`], [`BatchEnd`] |
//! | stop when nothing gets better | [`EarlyStopping`] |
//! | keep the best epoch's weights | [`BestModel`]; by hand [`Weights`] |
//! | interrupt a run and go on | [`Checkpoints`] |
//! | lower the rate on a plateau | [`Plateau`] |
//! | log each epoch | [`CsvLog`]; features: `Progress` (`progress`), `Events` (`tracing`) |
//! | survive a loss that is not finite | [`NanGuard`] |
//! | see whether the rate is right | [`UpdateRatio`] |
//! | see activations and dead units | [`ActivationStatistics`] |
//! | use the mean of the parameters: Polyak, EMA, SWA | [`Average`], [`reestimate_statistics`] |
//! | find a learning rate | [`Trainer::lr_find`] |
//! | train on from a pretrained model | [`advise`], [`Trainer::fine_tune`], [`crate::Sequential::replace_from`] |
//! | minimize over a whole data set | [`ModelObjective`] |

mod activations;
mod average;
mod callback;
mod checkpoints;
mod early_stopping;
#[cfg(feature = "tracing")]
mod events;
mod fit;
mod history;
mod lr_find;
mod monitor;
mod objective;
#[cfg(feature = "progress")]
mod progress;
mod session;
mod standing;
mod statistics;
mod trainer;
mod transfer;
mod update_ratio;
mod watchers;
mod weights;

pub use activations::{ActivationStatistics, LayerActivations};
pub use average::Average;
pub use callback::{BatchEnd, Callback, EpochEnd, Plan, Rescue, Run};
pub use checkpoints::Checkpoints;
pub use early_stopping::{BestModel, EarlyStopping, StoppingState};
#[cfg(feature = "tracing")]
pub use events::Events;
pub use history::{EpochRecord, History, StepRecord};
pub use lr_find::{LrCurve, LrFinder};
pub use monitor::Monitor;
pub use objective::ModelObjective;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use statistics::reestimate_statistics;
pub use trainer::{Evaluation, Step, Trainer};
pub use transfer::{Advice, Amount, FineTune, FineTuned, Similarity, advise};
pub use update_ratio::{LayerRatio, UpdateRatio};
pub use watchers::{CsvLog, NanGuard, Plateau};
pub use weights::Weights;
