//! What a statement may be written with: everything else is refused by its name.
//!
//! The parser knows the clauses of many dialects, and the planner passes over some that it does not carry out, so
//! that `TABLESAMPLE` answers every row and `FOR UPDATE` nothing at all. Each node of the tree is taken apart here
//! with all of its fields: a new version of the parser that brings a field does not compile until it is decided.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, CeilFloorKind, Cte, DataType, DateTimeField, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr,
    GroupByWithModifier, Interval, Join, JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr,
    SetQuantifier, TableAlias, TableFactor, TableFunctionArgs, TableWithJoins, TypedString, Value,
    Visit as _, Visitor, WildcardAdditionalOptions, WindowFrame, WindowSpec, WindowType, With,
};

use crate::sql::growth::{is_aggregate, is_window};

/// Refuses what is not carried out.
///
/// # Errors
/// The name of the clause, in a sentence.
pub fn check_clauses(query: &Query) -> Result<(), String> {
    match query.visit(&mut Clauses) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(clause) => Err(format!("{clause} is not offered here")),
    }
}

/// Goes on if the clause is not there.
fn no(is_there: bool, clause: &str) -> Result<(), String> {
    if is_there { Err(clause.to_owned()) } else { Ok(()) }
}

struct Clauses;

fn flow(result: Result<(), String>) -> ControlFlow<String> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(clause) => ControlFlow::Break(clause),
    }
}

impl Visitor for Clauses {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        flow(of_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        flow(of_select(select))
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        flow(of_table(table))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        flow(of_expr(expr))
    }
}

fn of_query(query: &Query) -> Result<(), String> {
    let Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    if let Some(With { with_token: _, recursive: _, cte_tables }) = with {
        cte_tables.iter().try_for_each(of_cte)?;
    }
    if let Some(OrderBy { kind, interpolate }) = order_by {
        no(interpolate.is_some(), "INTERPOLATE")?;
        match kind {
            OrderByKind::All(_) => {}
            OrderByKind::Expressions(exprs) => exprs.iter().try_for_each(of_sort)?,
        }
    }
    if let Some(LimitClause::LimitOffset { limit: _, offset: _, limit_by }) = limit_clause {
        no(!limit_by.is_empty(), "LIMIT BY")?;
    }
    no(
        matches!(limit_clause, Some(LimitClause::OffsetCommaLimit { .. })),
        "LIMIT with a comma (write OFFSET)",
    )?;
    no(fetch.is_some(), "FETCH (write LIMIT)")?;
    no(!locks.is_empty(), "FOR UPDATE or FOR SHARE")?;
    no(for_clause.is_some(), "FOR XML, JSON or BROWSE")?;
    no(settings.is_some(), "SETTINGS")?;
    no(format_clause.is_some(), "FORMAT")?;
    no(!pipe_operators.is_empty(), "|>")?;
    of_body(body)
}

fn of_cte(cte: &Cte) -> Result<(), String> {
    // Whether its rows are kept or made again changes no answer.
    let Cte { alias, query: _, from, materialized: _, closing_paren_token: _ } = cte;
    no(from.is_some(), "FROM behind a query of WITH")?;
    of_alias(alias)
}

fn of_body(body: &SetExpr) -> Result<(), String> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => Ok(()),
        SetExpr::SetOperation { left, op: _, set_quantifier, right } => {
            let by_name = matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            );
            no(by_name, "BY NAME")?;
            of_body(left)?;
            of_body(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err("writing".to_owned())
        }
        SetExpr::Table(_) => Err("TABLE (write SELECT * FROM)".to_owned()),
    }
}

fn of_select(select: &Select) -> Result<(), String> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window,
        qualify: _,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    no(!optimizer_hints.is_empty(), "an optimizer hint")?;
    no(
        select_modifiers.as_ref().is_some_and(|modifiers| !modifiers.to_string().trim().is_empty()),
        "a modifier of SELECT",
    )?;
    no(top.is_some(), "TOP (write LIMIT)")?;
    no(exclude.is_some(), "EXCLUDE behind the columns")?;
    no(into.is_some(), "INTO")?;
    no(!lateral_views.is_empty(), "LATERAL VIEW")?;
    no(prewhere.is_some(), "PREWHERE")?;
    no(!connect_by.is_empty(), "CONNECT BY")?;
    no(!cluster_by.is_empty(), "CLUSTER BY")?;
    no(!distribute_by.is_empty(), "DISTRIBUTE BY")?;
    no(!sort_by.is_empty(), "SORT BY")?;
    no(value_table_mode.is_some(), "AS VALUE or AS STRUCT")?;
    no(!matches!(flavor, SelectFlavor::Standard), "FROM before SELECT")?;
    projection.iter().try_for_each(of_item)?;
    named_window.iter().try_for_each(of_named_window)?;
    of_grouping(group_by)?;
    from.iter().try_for_each(of_from)
}

fn of_named_window(NamedWindowDefinition(_, window): &NamedWindowDefinition) -> Result<(), String> {
    match window {
        NamedWindowExpr::NamedWindow(_) => Ok(()),
        NamedWindowExpr::WindowSpec(spec) => of_window(spec),
    }
}

fn of_grouping(group_by: &GroupByExpr) -> Result<(), String> {
    let modifiers = match group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
    };
    let name = |modifier: &GroupByWithModifier| match modifier {
        GroupByWithModifier::Rollup => "WITH ROLLUP (write GROUP BY ROLLUP (...))",
        GroupByWithModifier::Cube => "WITH CUBE (write GROUP BY CUBE (...))",
        GroupByWithModifier::Totals => "WITH TOTALS",
        GroupByWithModifier::GroupingSets(_) => "GROUPING SETS behind the columns",
    };
    modifiers.first().map_or(Ok(()), |modifier| no(true, name(modifier)))
}

fn of_item(item: &SelectItem) -> Result<(), String> {
    match item {
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { expr: _, alias: _ } => Ok(()),
        SelectItem::ExprWithAliases { expr: _, aliases: _ } => Err("several names of one column".to_owned()),
        SelectItem::QualifiedWildcard(_, options) | SelectItem::Wildcard(options) => of_wildcard(options),
    }
}

fn of_wildcard(options: &WildcardAdditionalOptions) -> Result<(), String> {
    // `EXCLUDE`, `EXCEPT` and `REPLACE` are carried out.
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude: _,
        opt_except: _,
        opt_replace: _,
        opt_rename,
        opt_alias,
    } = options;
    no(opt_ilike.is_some(), "* ILIKE")?;
    no(opt_rename.is_some(), "* RENAME")?;
    no(opt_alias.is_some(), "* AS")
}

fn of_from(TableWithJoins { relation: _, joins }: &TableWithJoins) -> Result<(), String> {
    joins.iter().try_for_each(of_join)
}

fn of_join(Join { relation: _, global, join_operator }: &Join) -> Result<(), String> {
    use JoinOperator as J;
    no(*global, "GLOBAL JOIN")?;
    match join_operator {
        J::Join(on)
        | J::Inner(on)
        | J::Left(on)
        | J::LeftOuter(on)
        | J::Right(on)
        | J::RightOuter(on)
        | J::FullOuter(on) => {
            no(matches!(on, JoinConstraint::None), "JOIN without ON or USING (write CROSS JOIN)")
        }
        J::LeftSemi(on) | J::RightSemi(on) | J::LeftAnti(on) | J::RightAnti(on) => {
            no(matches!(on, JoinConstraint::None), "JOIN without ON or USING")
        }
        J::CrossJoin(on) => no(!matches!(on, JoinConstraint::None), "CROSS JOIN with a condition"),
        J::Semi(_) => Err("SEMI JOIN (write LEFT SEMI JOIN)".to_owned()),
        J::Anti(_) => Err("ANTI JOIN (write LEFT ANTI JOIN)".to_owned()),
        J::CrossApply | J::OuterApply => Err("APPLY".to_owned()),
        J::AsOf { match_condition: _, constraint: _ } => Err("ASOF JOIN".to_owned()),
        J::StraightJoin(_) => Err("STRAIGHT_JOIN".to_owned()),
        J::ArrayJoin | J::LeftArrayJoin | J::InnerArrayJoin => Err("ARRAY JOIN".to_owned()),
    }
}

fn of_alias(TableAlias { explicit: _, name: _, columns, at }: &TableAlias) -> Result<(), String> {
    no(columns.iter().any(|column| column.data_type.is_some()), "a type behind the name of a column")?;
    no(at.is_some(), "AT behind the name of a table")
}

fn of_table(table: &TableFactor) -> Result<(), String> {
    match table {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => {
            alias.iter().try_for_each(of_alias)?;
            of_offered_table(table)
        }
        TableFactor::TableFunction { .. } => Err("TABLE(...)".to_owned()),
        TableFactor::Function { .. } => Err("LATERAL".to_owned()),
        TableFactor::JsonTable { .. } => Err("JSON_TABLE".to_owned()),
        TableFactor::OpenJsonTable { .. } => Err("OPENJSON".to_owned()),
        TableFactor::Pivot { .. } => Err("PIVOT".to_owned()),
        TableFactor::Unpivot { .. } => Err("UNPIVOT".to_owned()),
        TableFactor::MatchRecognize { .. } => Err("MATCH_RECOGNIZE".to_owned()),
        TableFactor::XmlTable { .. } => Err("XMLTABLE".to_owned()),
        TableFactor::SemanticView { .. } => Err("SEMANTIC_VIEW".to_owned()),
    }
}

fn of_offered_table(table: &TableFactor) -> Result<(), String> {
    match table {
        TableFactor::Table {
            name: _,
            alias: _,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            if let Some(TableFunctionArgs { args: _, settings }) = args {
                no(settings.is_some(), "SETTINGS")?;
            }
            no(!with_hints.is_empty(), "WITH behind a table")?;
            no(version.is_some(), "a version of a table")?;
            no(*with_ordinality, "WITH ORDINALITY")?;
            no(!partitions.is_empty(), "PARTITION behind a table")?;
            no(json_path.is_some(), "a path behind a table")?;
            no(sample.is_some(), "TABLESAMPLE")?;
            no(!index_hints.is_empty(), "an index hint")
        }
        TableFactor::Derived { lateral, subquery: _, alias: _, sample } => {
            no(*lateral, "LATERAL")?;
            no(sample.is_some(), "TABLESAMPLE")
        }
        TableFactor::UNNEST { alias: _, array_exprs: _, with_offset, with_offset_alias, with_ordinality } => {
            no(*with_offset || with_offset_alias.is_some(), "WITH OFFSET")?;
            no(*with_ordinality, "WITH ORDINALITY")
        }
        _ => Ok(()),
    }
}

fn of_sort(OrderByExpr { expr: _, options: _, with_fill }: &OrderByExpr) -> Result<(), String> {
    no(with_fill.is_some(), "WITH FILL")
}

fn of_window(spec: &WindowSpec) -> Result<(), String> {
    let WindowSpec { window_name: _, partition_by: _, order_by, window_frame } = spec;
    if let Some(WindowFrame { units: _, start_bound: _, end_bound: _ }) = window_frame {}
    order_by.iter().try_for_each(of_sort)
}

fn of_expr(expr: &Expr) -> Result<(), String> {
    match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Nested(_)
        | Expr::Subquery(_)
        | Expr::Tuple(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(_, _)
        | Expr::IsNotDistinctFrom(_, _)
        | Expr::Wildcard(_)
        | Expr::Array(_)
        | Expr::Map(_)
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_) => Ok(()),
        Expr::InList { expr: _, list: _, negated: _ }
        | Expr::InSubquery { expr: _, subquery: _, negated: _ }
        | Expr::Between { expr: _, negated: _, low: _, high: _ }
        | Expr::BinaryOp { left: _, op: _, right: _ }
        | Expr::UnaryOp { op: _, expr: _ }
        | Expr::AnyOp { left: _, compare_op: _, right: _, is_some: _ }
        | Expr::AllOp { left: _, compare_op: _, right: _ }
        | Expr::Exists { subquery: _, negated: _ }
        | Expr::AtTimeZone { timestamp: _, time_zone: _ }
        | Expr::Extract { field: _, syntax: _, expr: _ }
        | Expr::Position { expr: _, r#in: _ }
        | Expr::Overlay { expr: _, overlay_what: _, overlay_from: _, overlay_for: _ }
        | Expr::Case { case_token: _, end_token: _, operand: _, conditions: _, else_result: _ }
        | Expr::Substring { expr: _, substring_from: _, substring_for: _, special: _, shorthand: _ }
        | Expr::CompoundFieldAccess { root: _, access_chain: _ } => Ok(()),
        Expr::Value(value) => of_value(&value.value),
        Expr::Function(function) => of_function(function),
        other => of_rare_expr(other),
    }
}

fn of_rare_expr(expr: &Expr) -> Result<(), String> {
    match expr {
        Expr::Like { negated: _, any, expr: _, pattern: _, escape_char: _ }
        | Expr::ILike { negated: _, any, expr: _, pattern: _, escape_char: _ } => no(*any, "LIKE ANY"),
        Expr::SimilarTo { negated: _, expr: _, pattern: _, escape_char } => {
            no(escape_char.is_some(), "ESCAPE behind SIMILAR TO")
        }
        Expr::Cast { kind, expr: _, data_type, array, format } => {
            of_type(data_type)?;
            no(*array, "CAST ... ARRAY")?;
            no(format.is_some(), "FORMAT in CAST")?;
            no(matches!(kind, CastKind::SafeCast), "SAFE_CAST (write TRY_CAST)")
        }
        Expr::Ceil { expr: _, field } | Expr::Floor { expr: _, field } => {
            let plain = matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime));
            no(!plain, "CEIL or FLOOR to a part")
        }
        Expr::Trim { trim_where: _, trim_what: _, expr: _, trim_characters } => {
            no(trim_characters.is_some(), "TRIM with a comma")
        }
        Expr::Interval(interval) => of_interval(interval),
        Expr::TypedString(TypedString { data_type, value: _, uses_odbc_syntax: _ }) => of_type(data_type),
        other => Err(refused(other).to_owned()),
    }
}

fn of_type(data_type: &DataType) -> Result<(), String> {
    let is_fine = matches!(data_type, DataType::Timestamp(Some(7..), _) | DataType::Datetime(Some(7..)));
    no(is_fine, "a time of more than six digits")
}

/// The name of what is not carried out at all.
fn refused(expr: &Expr) -> &'static str {
    match expr {
        Expr::JsonAccess { .. } => "access by a path",
        Expr::IsNormalized { .. } => "IS NORMALIZED",
        Expr::InUnnest { .. } => "IN UNNEST",
        Expr::RLike { .. } => "RLIKE or REGEXP (write ~)",
        Expr::Convert { .. } => "CONVERT (write CAST)",
        Expr::Collate { .. } => "COLLATE",
        Expr::Prefixed { .. } => "a prefix of a text",
        Expr::Struct { .. } | Expr::Named { .. } | Expr::Dictionary(_) => "structs (write columns)",
        Expr::MatchAgainst { .. } => "MATCH AGAINST",
        Expr::QualifiedWildcard(..) => "a table with * as a value",
        Expr::OuterJoin(_) => "(+)",
        Expr::Prior(_) => "PRIOR",
        Expr::Lambda(_) => "a lambda",
        Expr::MemberOf(_) => "MEMBER OF",
        _ => "this expression",
    }
}

fn of_interval(interval: &Interval) -> Result<(), String> {
    let Interval { value: _, leading_field: _, leading_precision, last_field, fractional_seconds_precision } =
        interval;
    let precise =
        leading_precision.is_some() || last_field.is_some() || fractional_seconds_precision.is_some();
    no(precise, "a precision or a second unit of INTERVAL")
}

fn of_value(value: &Value) -> Result<(), String> {
    match value {
        Value::Number(_, _)
        | Value::SingleQuotedString(_)
        | Value::EscapedStringLiteral(_)
        | Value::DollarQuotedString(_)
        | Value::UnicodeStringLiteral(_)
        | Value::HexStringLiteral(_)
        | Value::DoubleQuotedString(_)
        | Value::Boolean(_)
        | Value::Null => Ok(()),
        Value::Placeholder(name) => Err(format!("the parameter {name}")),
        Value::TripleSingleQuotedString(_)
        | Value::TripleDoubleQuotedString(_)
        | Value::SingleQuotedByteStringLiteral(_)
        | Value::DoubleQuotedByteStringLiteral(_)
        | Value::TripleSingleQuotedByteStringLiteral(_)
        | Value::TripleDoubleQuotedByteStringLiteral(_)
        | Value::SingleQuotedRawStringLiteral(_)
        | Value::DoubleQuotedRawStringLiteral(_)
        | Value::TripleSingleQuotedRawStringLiteral(_)
        | Value::TripleDoubleQuotedRawStringLiteral(_)
        | Value::NationalStringLiteral(_)
        | Value::QuoteDelimitedStringLiteral(_)
        | Value::NationalQuoteDelimitedStringLiteral(_) => Err("this way to write a text".to_owned()),
    }
}

/// Functions to which a treatment of NULLs means something.
const TREAT_NULLS: &[&str] = &["array_agg", "first_value", "lag", "last_value", "lead", "nth_value"];
/// Functions to which an order within their parentheses means something.
const ORDERED: &[&str] = &["array_agg", "first_value", "last_value", "nth_value", "string_agg"];
/// Functions that take an order of a group.
const WITHIN_GROUP: &[&str] =
    &["approx_percentile_cont", "approx_percentile_cont_with_weight", "percentile_cont"];

fn of_function(function: &Function) -> Result<(), String> {
    let Function { name, uses_odbc_syntax: _, parameters, args, filter, null_treatment, over, within_group } =
        function;
    let name = name.to_string().to_lowercase();
    no(!matches!(parameters, FunctionArguments::None), &format!("a second list of arguments of {name}"))?;
    no(filter.is_some() && !is_aggregate(&name), &format!("FILTER behind {name}"))?;
    let nulls = null_treatment.is_some() && !TREAT_NULLS.contains(&name.as_str());
    no(nulls, &format!("IGNORE or RESPECT NULLS behind {name}"))?;
    no(
        !within_group.is_empty() && !WITHIN_GROUP.contains(&name.as_str()),
        &format!("WITHIN GROUP behind {name}"),
    )?;
    within_group.iter().try_for_each(of_sort)?;
    match over {
        None | Some(WindowType::NamedWindow(_)) => {}
        Some(WindowType::WindowSpec(spec)) => of_window(spec)?,
    }
    no(over.is_some() && !is_window(&name), &format!("OVER behind {name}"))?;
    match args {
        FunctionArguments::None => Ok(()),
        FunctionArguments::Subquery(_) => {
            Err(format!("a query as the argument of {name} (put it in parentheses)"))
        }
        FunctionArguments::List(list) => of_arguments(&name, list, over.is_some()),
    }
}

fn of_arguments(name: &str, list: &FunctionArgumentList, is_windowed: bool) -> Result<(), String> {
    let FunctionArgumentList { duplicate_treatment, args, clauses } = list;
    let distinct = matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct));
    no(duplicate_treatment.is_some() && !is_aggregate(name), &format!("DISTINCT or ALL in {name}"))?;
    no(distinct && is_windowed, &format!("DISTINCT in {name} with OVER"))?;
    for clause in clauses {
        let is_offered = match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => TREAT_NULLS.contains(&name),
            FunctionArgumentClause::OrderBy(sorts) => {
                sorts.iter().try_for_each(of_sort)?;
                ORDERED.contains(&name) && !is_windowed
            }
            FunctionArgumentClause::Limit(_)
            | FunctionArgumentClause::OnOverflow(_)
            | FunctionArgumentClause::Having(_)
            | FunctionArgumentClause::Separator(_)
            | FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => false,
        };
        no(!is_offered, &format!("{} in {name}", clause.to_string().split(' ').next().unwrap_or_default()))?;
    }
    args.iter().try_for_each(|arg| of_argument(name, arg))
}

fn of_argument(name: &str, arg: &FunctionArg) -> Result<(), String> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => Ok(()),
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => no(name != "count", &format!("* in {name}")),
        FunctionArg::Unnamed(
            FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::WildcardWithOptions(_),
        ) => Err(format!("* with more in {name}")),
        FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
            Err(format!("a named argument of {name}"))
        }
    }
}

#[cfg(test)]
mod tests;
