//! Label sets of new series, decoded and held against the limits.

use promontory_model::append::RefusalReason;
use promontory_model::{IngestLimits, Labels, LabelsBuilder, LabelsCodec, METRIC_NAME};

/// Decodes a label set and holds it against the limits.
pub(super) fn checked_labels(
    codec: &dyn LabelsCodec,
    raw: &[u8],
    limits: &IngestLimits,
    scratch: &mut LabelsBuilder,
) -> Result<Labels, (RefusalReason, String)> {
    scratch.clear();
    let invalid = |text: String| (RefusalReason::InvalidLabels, text);
    codec.decode(raw, scratch).map_err(|why| invalid(format!("invalid labels: {why}")))?;
    let series = || scratch.build().to_string();
    let pairs = scratch.pairs();
    if pairs.len() > limits.labels_per_series_max {
        let text = format!(
            "series {} has {} labels, at most {}",
            shortened(&series()),
            pairs.len(),
            limits.labels_per_series_max
        );
        return Err((RefusalReason::TooManyLabels, text));
    }
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(invalid(format!("series {} has a label with an empty name", shortened(&series()))));
        }
        if name.len() > limits.label_name_bytes_max {
            let text = format!(
                "label name \"{}\" of {} bytes is too long, at most {}",
                shortened(name),
                name.len(),
                limits.label_name_bytes_max
            );
            return Err((RefusalReason::LabelNameTooLong, text));
        }
        if value.len() > limits.label_value_bytes_max {
            let text = format!(
                "value of label \"{name}\" of {} bytes is too long, at most {}: \"{}\"",
                value.len(),
                limits.label_value_bytes_max,
                shortened(value)
            );
            return Err((RefusalReason::LabelValueTooLong, text));
        }
    }
    if let Some(name) = scratch.duplicate() {
        let text = format!("series {} has the label \"{name}\" twice", shortened(&series()));
        return Err((RefusalReason::DuplicateLabel, text));
    }
    let labels = scratch.build();
    if labels.get(METRIC_NAME).is_none() {
        return Err(invalid(format!("series {} has no metric name", shortened(&labels.to_string()))));
    }
    Ok(labels)
}

/// At most 200 characters, for texts that go back to the sender.
fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 200;
    match text.char_indices().nth(SHOWN_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
