//! Names of the columns of an answer, and other words that the planner is given instead of those that were written.
//!
//! - A column that has no name is called as it was written: `max(value)`, `labels['job']`. The planner would call
//!   `ts::text` just `ts`, and then refuse to sort by `ts`.
//! - Columns of one name are told apart by a mark that is taken off again: `SELECT 1, 1` has two.
//! - `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`: the parser reads everything behind `FROM` as one
//!   side.
//! - A cast stands within a function, so that names show it.
//! - `x AT TIME ZONE 'zone'` is a function ([`crate::sql::meaning::at_time_zone`]).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TypedString, UnaryOperator, Value, VisitMut as _, VisitorMut,
};

use crate::sql::meaning::NAMED_CAST;

/// Begins what tells columns of one name apart.
const MARK: char = '\u{1}';

/// Gives every column a name of its own.
pub fn name_columns(query: &mut Query) {
    // It never breaks off.
    let _: ControlFlow<()> = query.visit(&mut Names);
}

/// The schema with the names that were written.
pub fn without_marks(schema: &SchemaRef) -> SchemaRef {
    let written = |field: &Arc<Field>| {
        let name = field.name().split(MARK).next().unwrap_or_default();
        Arc::new(field.as_ref().clone().with_name(name))
    };
    Arc::new(Schema::new(schema.fields().iter().map(written).collect::<Vec<_>>()))
}

struct Names;

impl VisitorMut for Names {
    type Break = ();

    /// `ORDER BY` of what a column is made of becomes the place of the column, which has a name now.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Query { body, order_by: Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }), .. } = query
        else {
            return ControlFlow::Continue(());
        };
        if let SetExpr::Select(select) = body.as_ref()
            && !select.projection.iter().any(is_wild)
        {
            for key in keys {
                let made_of =
                    |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(expr) if *expr == key.expr);
                let place =
                    select.projection.iter().position(made_of).filter(|_| column(&key.expr).is_none());
                if let Some(place) = place {
                    let number = Value::Number((place + 1).to_string(), false);
                    key.expr = Expr::Value(number.with_empty_span());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let has_wildcard = select.projection.iter().any(is_wild);
        let mut taken = Taken::new();
        for item in &mut select.projection {
            name_item(item, &mut taken, has_wildcard);
        }
        ControlFlow::Continue(())
    }

    /// The library's series of times are made of nanoseconds.
    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { args: Some(list), .. } = table {
            for arg in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(
                    Expr::TypedString(TypedString { data_type: DataType::Timestamp(digits, _), .. })
                    | Expr::Cast { data_type: DataType::Timestamp(digits, _), .. },
                )) = arg
                {
                    *digits = Some(9);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::AtTimeZone { timestamp, time_zone } = expr {
            let args = [timestamp.as_ref(), time_zone.as_ref()].map(Clone::clone);
            *expr = call("at_time_zone", args);
        }
        if let Expr::Cast { data_type, .. } = expr
            && !matches!(data_type, DataType::Timestamp(Some(9), _))
        {
            let name = Expr::Value(Value::SingleQuotedString(data_type.to_string()).with_empty_span());
            *expr = call(NAMED_CAST, [expr.clone(), name]);
        }
        if out_of_order(expr) {
            *expr = in_order(expr.clone());
        }
        ControlFlow::Continue(())
    }
}

/// True for a truth that the parser has put behind `IS DISTINCT FROM`, or what stands around it once it is outside. What
/// was written so has parentheses, which are a node of their own.
fn out_of_order(expr: &Expr) -> bool {
    match expr {
        Expr::IsDistinctFrom(_, inner) | Expr::IsNotDistinctFrom(_, inner) => is_of(inner, &TRUTHS),
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => is_of(inner, &TRUTHS),
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => is_of(right, &TRUTHS[1..]),
        _ => false,
    }
}

/// From what binds closest.
const TRUTHS: [BinaryOperator; 3] = [BinaryOperator::And, BinaryOperator::Xor, BinaryOperator::Or];

fn is_of(expr: &Expr, operators: &[BinaryOperator]) -> bool {
    matches!(expr, Expr::BinaryOp { op, .. } if operators.contains(op))
}

/// The same with the truth outside: `a IS DISTINCT FROM (b AND c)` becomes `(a IS DISTINCT FROM b) AND c`.
fn in_order(expr: Expr) -> Expr {
    let (inner, around): (Expr, Box<dyn Fn(Expr) -> Expr>) = match expr {
        Expr::IsDistinctFrom(left, inner) => {
            (*inner, Box::new(move |expr| Expr::IsDistinctFrom(left.clone(), Box::new(expr))))
        }
        Expr::IsNotDistinctFrom(left, inner) => {
            (*inner, Box::new(move |expr| Expr::IsNotDistinctFrom(left.clone(), Box::new(expr))))
        }
        Expr::UnaryOp { op, expr: inner } => {
            (*inner, Box::new(move |expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
        }
        Expr::BinaryOp { left, op, right } => (
            *right,
            Box::new(move |right| Expr::BinaryOp {
                left: left.clone(),
                op: op.clone(),
                right: Box::new(right),
            }),
        ),
        other => return other,
    };
    let Expr::BinaryOp { left, op, right } = inner else { return around(inner) };
    let left = around(*left);
    let left = if out_of_order(&left) { in_order(left) } else { left };
    Expr::BinaryOp { left: Box::new(left), op, right }
}

fn is_wild(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// Names of one `SELECT`, and how often each was there.
type Taken = BTreeMap<String, usize>;

fn name_item(item: &mut SelectItem, taken: &mut Taken, has_wildcard: bool) {
    let (expr, mut name, is_named) = match &*item {
        SelectItem::UnnamedExpr(expr) => match column(expr) {
            Some(name) => (expr.clone(), name, true),
            None => (expr.clone(), Ident::with_quote('"', expr.to_string()), false),
        },
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone(), true),
        _ => return,
    };
    let key = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
    let before = taken.entry(key).or_default();
    *before += 1;
    let is_alone = *before == 1 && !(has_wildcard && matches!(item, SelectItem::UnnamedExpr(_)));
    if is_alone && is_named {
        return;
    }
    if !is_alone {
        name.value.push_str(&format!("{MARK}{before}"));
    }
    *item = SelectItem::ExprWithAlias { expr, alias: name };
}

/// The name that a column has by itself.
fn column(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(names) => names.last().cloned(),
        _ => None,
    }
}

fn call(name: &str, args: [Expr; 2]) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
