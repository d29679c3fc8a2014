//! Bytes that sort as Prometheus sorts: label sets, and label values in natural order.

use promontory_model::LabelsRef;
use promontory_model::labels::push_field;

/// Appends bytes whose order is [`LabelsRef::cmp_prometheus`].
pub fn label_key(labels: LabelsRef<'_>, out: &mut Vec<u8>) {
    for (name, value) in labels.sorted_pairs() {
        push_field(out, name.as_bytes());
        push_field(out, value.as_bytes());
    }
}

/// Appends bytes that order by the values of `names` in natural order, then by all labels.
///
/// Natural order compares runs of digits as numbers: `node2` before `node10`. Source: natsort.Compare
/// of github.com/facette/natsort, which prometheus v3.16 uses in `sort_by_label`.
pub fn natural_key(labels: LabelsRef<'_>, names: &[String], out: &mut Vec<u8>) {
    let mut encoded = Vec::new();
    for name in names {
        encoded.clear();
        encode_natural(&labels.get(name).unwrap_or_default(), &mut encoded);
        push_field(out, &encoded);
    }
    label_key(labels, out);
}

const DIGITS: u8 = 0x01;
const TEXT: u8 = 0x02;

/// Chunks of digits and of other bytes in turn. A chunk of digits sorts before a chunk of text, by
/// its length without leading zeros, then by the digits, then by the number of zeros.
fn encode_natural(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(first) = rest.first() {
        let digits = first.is_ascii_digit();
        let end = rest.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (chunk, after) = rest.split_at(end);
        if digits {
            let zeros = chunk.iter().take_while(|byte| **byte == b'0').count().min(chunk.len() - 1);
            let number = &chunk[zeros..];
            out.push(DIGITS);
            out.extend_from_slice(&(number.len() as u32).to_be_bytes());
            out.extend_from_slice(number);
            out.extend_from_slice(&(zeros as u32).to_be_bytes());
        } else {
            out.push(TEXT);
            push_field(out, chunk);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use promontory_model::Labels;

    use super::*;

    fn check_ascending(name: &str, values: &[&str]) {
        let keys: Vec<Vec<u8>> = values
            .iter()
            .map(|value| {
                let mut key = Vec::new();
                natural_key(Labels::from_pairs([(name, *value)]).as_ref(), &[name.to_owned()], &mut key);
                key
            })
            .collect();
        for (pair, keys) in values.windows(2).zip(keys.windows(2)) {
            assert!(keys[0] < keys[1], "{pair:?}");
        }
    }

    #[test]
    fn runs_of_digits_sort_as_numbers() {
        check_ascending(
            "instance",
            &["", "1", "2", "10", "node", "node1", "node2", "node2b", "node10", "nodes"],
        );
    }

    #[test]
    fn label_keys_sort_as_prometheus_sorts_label_sets() {
        let sets = [
            Labels::from_pairs([("Foo", "z"), ("__name__", "a")]),
            Labels::from_pairs([("__name__", "a")]),
            Labels::from_pairs([("__name__", "a"), ("b", "1")]),
            Labels::from_pairs([("__name__", "b")]),
            Labels::from_pairs([("a", "1")]),
        ];
        for pair in sets.windows(2) {
            let key = |labels: &Labels| {
                let mut key = Vec::new();
                label_key(labels.as_ref(), &mut key);
                key
            };
            assert_eq!(pair[0].as_ref().cmp_prometheus(pair[1].as_ref()), key(&pair[0]).cmp(&key(&pair[1])));
            assert!(key(&pair[0]) < key(&pair[1]), "{pair:?}");
        }
    }
}
