//! The Arrow IPC streams inside a segment's sections.
//!
//! Series: `labels` is a list of name and value in turn, `__name__` first if present, each a
//! reference into the stream's dictionary (the symbols); `samples` counts the series' rows. Samples:
//! `ts` and `value`, series after series. Each stream holds exactly one record batch.
//!
//! Labels dominate a segment of one second, so both ways avoid work for what repeats: the encoder
//! parses and looks up only what follows the fields that a key shares with the one before, and the
//! decoder compares two names only if that pair did not stand at the same place before.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    StringBuilder, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, UInt32Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use promontory_model::labels::push_field;
use promontory_model::samples::Floats;
use promontory_model::{Labels, METRIC_NAME};

use super::corrupt;
use super::table::Entry;
use crate::error::Error;
use crate::hash::LabelHash;
use crate::run::SeriesRun;

/// Most bytes of the decoded label sets of one section. Writers cut segments far below it; a few kilobytes of
/// references to one long symbol could ask for any amount.
const KEY_BYTES_MAX: usize = 2 << 30;

/// The stream of series and their symbols.
pub(super) fn encode_series(run: &SeriesRun) -> Result<Vec<u8>, Error> {
    let mut encoder = KeyEncoder::new();
    let mut refs = Vec::with_capacity(run.keys().len() * 16);
    let mut lengths = Vec::with_capacity(run.keys().len());
    for key in run.keys() {
        let before = refs.len();
        // What the decoder would refuse must not be acknowledged.
        encoder
            .encode(key.key(), &mut refs)
            .ok_or_else(|| Error::Bug(format!("labels {key} are not canonical")))?;
        lengths.push(refs.len() - before);
    }
    let symbols = encoder.symbols.texts()?;
    let labels = DictionaryArray::<UInt32Type>::try_new(refs.into(), Arc::new(symbols)).map_err(bug)?;
    let labels =
        ListArray::try_new(symbol_field(), OffsetBuffer::from_lengths(lengths), Arc::new(labels), None);
    let samples: Result<Vec<u32>, _> =
        run.samples().floats().offsets().windows(2).map(|pair| u32::try_from(pair[1] - pair[0])).collect();
    let samples =
        samples.map_err(|_| Error::Bug("a series of more than 2^32 samples in a segment".into()))?;
    write_stream(series_schema(), vec![Arc::new(labels.map_err(bug)?), Arc::new(UInt32Array::from(samples))])
}

pub(super) fn encode_samples(floats: &Floats) -> Result<Vec<u8>, Error> {
    let ts = Int64Array::from(floats.ts().to_vec());
    let values = Float64Array::from(floats.values().to_vec());
    write_stream(samples_schema(), vec![Arc::new(ts), Arc::new(values)])
}

/// Keys and row offsets of a run.
pub(super) fn decode_series(raw: &[u8], entry: &Entry) -> Result<(Vec<Labels>, Vec<usize>), Error> {
    let batch = read_stream(raw, &series_schema(), entry)?;
    let lists = batch.column(0).as_list::<i32>();
    let counts = batch.column(1).as_primitive::<UInt32Type>();
    let refs = lists.values().as_dictionary::<UInt32Type>();
    let symbols = refs.values().as_string::<i32>();
    if refs.null_count() != 0 || symbols.null_count() != 0 {
        return Err(corrupt(entry.bytes(), "a null label"));
    }
    let decoder = KeyDecoder::new(symbols);
    let (mut previous, mut key_bytes): (&[u32], usize) = (&[], 0);
    let mut keys = Vec::with_capacity(batch.num_rows());
    let mut scratch = Vec::new();
    let refs = refs.keys().values();
    for ends in lists.offsets().windows(2) {
        let refs = &refs[ends[0] as usize..ends[1] as usize];
        let key = decoder.key(refs, previous, &mut scratch).map_err(|why| corrupt(entry.bytes(), why))?;
        key_bytes += key.key().len();
        if key_bytes > KEY_BYTES_MAX {
            return Err(corrupt(entry.bytes(), format!("label sets of more than {KEY_BYTES_MAX} bytes")));
        }
        keys.push(key);
        previous = refs;
    }
    let mut offsets = Vec::with_capacity(counts.len() + 1);
    let mut end = 0usize;
    offsets.push(0);
    for count in counts.values() {
        end += *count as usize;
        offsets.push(end);
    }
    Ok((keys, offsets))
}

pub(super) fn decode_samples(raw: &[u8], entry: &Entry) -> Result<Floats, Error> {
    let batch = read_stream(raw, &samples_schema(), entry)?;
    let ts = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    let values = batch.column(1).as_primitive::<Float64Type>().values().to_vec();
    Ok(Floats::new(ts, values))
}

fn symbol_field() -> Arc<Field> {
    let symbols = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    Arc::new(Field::new("item", symbols, false))
}

fn series_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("labels", DataType::List(symbol_field()), false),
        Field::new("samples", DataType::UInt32, false),
    ]))
}

fn samples_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]))
}

fn write_stream(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<Vec<u8>, Error> {
    let size: usize = columns.iter().map(|column| column.get_buffer_memory_size()).sum();
    let mut out = Vec::with_capacity(size + 2048);
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(bug)?;
    let mut writer = StreamWriter::try_new(&mut out, &schema).map_err(bug)?;
    writer.write(&batch).and_then(|()| writer.finish()).map_err(bug)?;
    drop(writer);
    Ok(out)
}

/// Reads the one batch of a stream, which must have exactly the columns of `schema` and no nulls.
fn read_stream(raw: &[u8], schema: &SchemaRef, entry: &Entry) -> Result<RecordBatch, Error> {
    let fail = |why: String| corrupt(entry.bytes(), why);
    let mut reader =
        StreamReader::try_new(Cursor::new(raw), None).map_err(|error| fail(error.to_string()))?;
    let found = reader.schema();
    let same = found.fields().len() == schema.fields().len()
        && found
            .fields()
            .iter()
            .zip(schema.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type().equals_datatype(b.data_type()));
    if !same {
        return Err(fail("a section of another schema".into()));
    }
    let batch = match reader.next() {
        Some(batch) => batch.map_err(|error| fail(error.to_string()))?,
        None => return Err(fail("a section without a batch".into())),
    };
    if reader.next().is_some() {
        return Err(fail("a section with a second batch".into()));
    }
    if batch.columns().iter().any(|column| column.null_count() != 0) {
        return Err(fail("a section with nulls".into()));
    }
    Ok(batch)
}

fn bug(error: arrow::error::ArrowError) -> Error {
    Error::Bug(format!("arrow: {error}"))
}

/// Turns keys into references to symbols.
///
/// Keys ascend, so most begin as the one before does: what lies in whole fields of the common prefix
/// is neither parsed nor looked up again.
struct KeyEncoder<'a> {
    symbols: Symbols<'a>,
    previous: &'a [u8],
    /// Ends and symbols of the fields of `previous`, the metric name first.
    fields: Vec<(usize, u32)>,
}

impl<'a> KeyEncoder<'a> {
    fn new() -> Self {
        Self { symbols: Symbols::new(), previous: &[], fields: Vec::new() }
    }

    /// Appends the references of `key`; `None` if it is not canonical.
    fn encode(&mut self, key: &'a [u8], refs: &mut Vec<u32>) -> Option<()> {
        let common = common_prefix(self.previous, key);
        let shared = self.fields.partition_point(|(end, _)| *end <= common);
        self.fields.truncate(shared);
        let mut at = self.fields.last().map_or(0, |(end, _)| *end);
        let mut last_name = self.last_name(key);
        while at < key.len() || self.fields.is_empty() {
            let end = field_end(key, at)?;
            let field = &key[at..end - 2];
            let is_metric = self.fields.is_empty();
            let is_name = self.fields.len() % 2 == 1;
            if is_name {
                let ascends = last_name.is_none_or(|last| last < field);
                if !ascends || field == METRIC_NAME.as_bytes() {
                    return None;
                }
                last_name = Some(field);
            } else if field.is_empty() && !is_metric {
                return None;
            }
            let symbol = if field.is_empty() && is_metric { 0 } else { self.symbols.reference(field) };
            self.fields.push((end, symbol));
            at = end;
        }
        self.previous = key;
        if self.fields.len().is_multiple_of(2) {
            return None;
        }
        let named = self.fields[0].0 > 2;
        if named {
            refs.extend([self.symbols.reference(METRIC_NAME.as_bytes()), self.fields[0].1]);
        }
        refs.extend(self.fields[1..].iter().map(|(_, symbol)| *symbol));
        Some(())
    }

    /// The last label name among the fields that `key` shares with the key before.
    fn last_name(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        // Fields 1, 3, 5, ... are names.
        let last = self.fields.len().checked_sub(2)? / 2 * 2 + 1;
        Some(&key[self.fields[last - 1].0..self.fields[last].0 - 2])
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count() * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// Where the field that begins at `from` ends, its terminator included.
fn field_end(key: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let zero = from + find_zero(key.get(from..)?)?;
        match *key.get(zero + 1)? {
            0x01 => return Some(zero + 2),
            0xff => from = zero + 2,
            _ => return None,
        }
    }
}

/// The place of the first zero byte, eight bytes at a time.
fn find_zero(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut words = bytes.chunks_exact(8);
    for (number, word) in words.by_ref().enumerate() {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of eight bytes"));
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(number * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let rest = words.remainder();
    rest.iter().position(|byte| *byte == 0).map(|at| bytes.len() - rest.len() + at)
}

/// The distinct label names and values of a section, numbered by first appearance.
struct Symbols<'a> {
    /// Fields without their terminators, escapes kept.
    fields: Vec<&'a [u8]>,
    refs: HashMap<&'a [u8], u32, LabelHash>,
}

impl<'a> Symbols<'a> {
    fn new() -> Self {
        Self { fields: Vec::new(), refs: HashMap::default() }
    }

    fn reference(&mut self, field: &'a [u8]) -> u32 {
        let next = self.fields.len() as u32;
        let reference = *self.refs.entry(field).or_insert(next);
        if reference == next {
            self.fields.push(field);
        }
        reference
    }

    /// The symbols as text, without escapes.
    fn texts(&self) -> Result<StringArray, Error> {
        let bytes = self.fields.iter().map(|field| field.len()).sum();
        let mut texts = StringBuilder::with_capacity(self.fields.len(), bytes);
        let mut unescaped = Vec::new();
        for field in &self.fields {
            let mut text = *field;
            if field.contains(&0) {
                unescaped.clear();
                // Every zero in a field is followed by its escape.
                let mut parts = field.split_inclusive(|byte| *byte == 0);
                unescaped.extend_from_slice(parts.next().unwrap_or_default());
                parts.for_each(|part| unescaped.extend_from_slice(&part[1..]));
                text = &unescaped;
            }
            let text = std::str::from_utf8(text)
                .map_err(|error| Error::Bug(format!("a label that is not UTF-8: {error}")))?;
            texts.append_value(text);
        }
        Ok(texts.finish())
    }
}

/// Builds canonical keys from symbols; checks what makes them canonical.
struct KeyDecoder<'a> {
    symbols: &'a StringArray,
    /// All symbols as fields of a key, escaped and terminated, back to back.
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> KeyDecoder<'a> {
    fn new(symbols: &'a StringArray) -> Self {
        let mut fields = Vec::with_capacity(symbols.value_data().len() + 2 * symbols.len());
        let mut ends = Vec::with_capacity(symbols.len() + 1);
        ends.push(0);
        for symbol in symbols.iter().flatten() {
            push_field(&mut fields, symbol.as_bytes());
            ends.push(fields.len());
        }
        Self { symbols, fields, ends }
    }

    fn field(&self, symbol: u32) -> &[u8] {
        &self.fields[self.ends[symbol as usize]..self.ends[symbol as usize + 1]]
    }

    fn text(&self, symbol: u32) -> &str {
        self.symbols.value(symbol as usize)
    }

    /// The key of one series; `previous` are the references of the series before, `key` is scratch.
    fn key(&self, refs: &[u32], previous: &[u32], key: &mut Vec<u8>) -> Result<Labels, String> {
        if !refs.len().is_multiple_of(2) {
            return Err("a label name without a value".into());
        }
        let is_metric_name = |symbol: u32| self.text(symbol) == METRIC_NAME;
        let named = refs.first().is_some_and(|symbol| is_metric_name(*symbol));
        let pairs = if named { &refs[2..] } else { refs };
        let from = refs.len() - pairs.len();
        for at in (0..pairs.len()).step_by(2) {
            let name = pairs[at];
            let known = previous.get(from + at) == Some(&name)
                && (at == 0 || previous.get(from + at - 2) == Some(&pairs[at - 2]));
            let ascends = known || at == 0 || self.text(pairs[at - 2]) < self.text(name);
            if !ascends || is_metric_name(name) {
                return Err("label names that do not ascend".into());
            }
        }
        if refs.iter().skip(1).step_by(2).any(|value| self.text(*value).is_empty()) {
            return Err("an empty label value".into());
        }
        key.clear();
        match named {
            true => key.extend_from_slice(self.field(refs[1])),
            false => push_field(key, b""),
        }
        for symbol in pairs {
            key.extend_from_slice(self.field(*symbol));
        }
        Ok(Labels::from_key_unchecked(&key[..]))
    }
}
