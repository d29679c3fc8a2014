//! Which functions a statement may call, and how they grow.

use super::rule::Growth;

/// Make at most a few times their input, also when they are nested: what makes two bytes of one does so once.
#[rustfmt::skip]
pub const PLAIN: &[&str] = &[
    "abs", "acos", "acosh", "array_add", "array_any_value", "array_avg", "array_compact", "array_dims",
    "array_distance", "array_distinct", "array_element", "array_except", "array_has",
    "array_has_all", "array_has_any", "array_intersect", "array_length", "array_max", "array_min", "array_ndims",
    "array_normalize", "array_pop_back", "array_pop_front", "array_position", "array_product", "array_remove",
    "array_remove_all", "array_remove_n", "array_reverse", "array_scale", "array_slice", "array_sort",
    "array_subtract", "array_sum", "arrow_field", "arrow_metadata", "arrow_typeof", "ascii", "asin", "asinh",
    "atan", "atan2", "atanh", "bit_length", "btrim", "cardinality", "cbrt", "ceil", "character_length", "chr",
    "coalesce", "contains", "cos", "cosh", "cosine_distance", "cot", "current_date", "current_time", "date_bin",
    "date_part", "date_trunc", "decode", "degrees", "empty", "ends_with", "exp", "factorial",
    "find_in_set", "flatten", "floor", "from_unixtime", "gcd", "get_field", "greatest", "initcap",
    "inner_product", "isnan", "iszero", "lcm", "least", "left", "levenshtein", "ln", "log", "log10", "log2",
    "lower", "ltrim", "make_date", "make_time", "map_entries", "map_extract", "map_keys", "map_values",
    "nanvl", "now", "nullif", "nvl", "nvl2", "octet_length", "pi", "power", "radians", "random", "reverse",
    "right", "round", "rtrim", "signum", "sin", "sinh", "split_part",
    "sqrt", "starts_with", "strpos", "substr", "substr_index", "tan", "tanh", "to_date", "to_hex",
    "to_local_time", "to_time", "to_timestamp", "to_timestamp_micros", "to_timestamp_millis",
    "to_timestamp_seconds", "to_unixtime", "translate", "trunc", "union_extract",
    "union_tag", "upper", "uuid", "version",
];

/// Can make much of little, and stand behind their bound.
pub const GROWING: &[(&str, Growth)] = &[
    ("array_append", Growth::Sum),
    ("array_concat", Growth::Sum),
    ("array_positions", Growth::Times(16)),
    ("array_prepend", Growth::Sum),
    ("array_repeat", Growth::RepeatElement),
    ("array_replace", Growth::ReplaceElements),
    ("array_replace_all", Growth::ReplaceElements),
    ("array_replace_n", Growth::ReplaceElements),
    ("array_to_string", Growth::Join),
    ("array_union", Growth::Sum),
    ("arrays_zip", Growth::Zipped),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::SumBetween),
    ("encode", Growth::Times(2)),
    ("lpad", Growth::Pad),
    ("make_array", Growth::Sum),
    ("map", Growth::Sum),
    ("overlay", Growth::Sum),
    ("regexp_count", Growth::RegexOnly),
    ("regexp_instr", Growth::RegexOnly),
    ("regexp_like", Growth::RegexOnly),
    ("regexp_match", Growth::RegexGroups),
    ("regexp_replace", Growth::RegexReplace),
    ("repeat", Growth::Repeat),
    ("replace", Growth::Replace),
    ("rpad", Growth::Pad),
    ("string_to_array", Growth::Times(16)),
    ("to_char", Growth::Format),
];

/// Make as much as a number or a type in their arguments says, make types that grow, or speak of files; nobody
/// needs them here; or times in nanoseconds, which hold three centuries.
#[cfg(test)]
#[rustfmt::skip]
pub const LEFT_OUT: &[&str] = &[
    "array_resize", "arrow_cast", "arrow_try_cast", "cast_to_type", "file_row_index", "generate_series",
    "input_file_name", "named_struct", "range", "struct", "to_timestamp_nanos", "try_cast_to_type",
    "with_metadata",
];

/// Functions of functions: what they make of each element is nobody's to know beforehand.
#[cfg(test)]
pub const LEFT_OUT_HIGHER_ORDER: &[&str] =
    &["array_any_match", "array_filter", "array_first", "array_transform"];

/// Their states are counted by DataFusion's pool, and their results are of the size of their states.
#[rustfmt::skip]
pub const AGGREGATES: &[&str] = &[
    "any_value", "approx_distinct", "approx_median", "approx_percentile_cont",
    "approx_percentile_cont_with_weight", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr",
    "count", "covar_pop", "covar_samp", "first_value", "grouping", "last_value", "max", "median", "min",
    "nth_value", "percentile_cont", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2",
    "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev", "stddev_pop", "sum", "var", "var_pop",
];

/// Other names of aggregates.
pub const AGGREGATE_ALIASES: &[&str] = &[
    "approx_percentile_cont_weight",
    "covar",
    "mean",
    "quantile_cont",
    "stddev_samp",
    "var_population",
    "var_samp",
    "var_sample",
];

/// The same, but that a result grows with every row: in a window each row would have one.
pub const GROWING_AGGREGATES: &[&str] = &["array_agg", "string_agg"];

/// Give one value for a row, which is in the window.
#[rustfmt::skip]
pub const WINDOWS: &[&str] = &[
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank",
    "rank", "row_number",
];

/// Make rows batch by batch, and stop when nobody takes them.
pub const TABLES: &[&str] = &["generate_series", "range"];

pub fn growth_of(name: &str) -> Option<Growth> {
    GROWING.binary_search_by(|(growing, _)| (*growing).cmp(name)).ok().map(|place| GROWING[place].1)
}

pub fn is_plain(name: &str) -> bool {
    PLAIN.binary_search(&name).is_ok()
}

/// True for the name of an aggregate, also where it has another.
pub fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name) || GROWING_AGGREGATES.contains(&name) || AGGREGATE_ALIASES.contains(&name)
}

/// True for what may stand before `OVER`.
pub fn is_window(name: &str) -> bool {
    WINDOWS.contains(&name) || is_aggregate(name)
}
