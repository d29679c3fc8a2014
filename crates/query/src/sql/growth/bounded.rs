//! A growing function behind its bound.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::checks::{check, check_type};
use super::concat::TextConcat;
use super::lists::growth_of;
use super::rule::Growth;
use super::sizes::Arguments;
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::memory::Held;

/// Most bytes of a constant that is not written out.
pub const CONSTANT_BYTES_MAX: usize = 1 << 20;

/// Charges what `inner` can make, and then calls it. It is the same function in everything else.
///
/// What the last call made stays charged until the next one: then its batch has gone to an operator that counts,
/// or is no more. Each call in a statement has one of these.
#[derive(Debug)]
pub struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    context: Arc<QueryContext>,
    held: Held,
}

impl Bounded {
    pub fn new(inner: Arc<ScalarUDF>, growth: Growth, context: &Arc<QueryContext>) -> Self {
        Self { inner, growth, context: Arc::clone(context), held: context.held() }
    }

    fn charge(&self, args: &ScalarFunctionArgs) -> Result<()> {
        self.context.check()?;
        let (name, arguments) = (self.inner.name(), Arguments::new(&args.args, args.number_rows)?);
        if self.growth.takes_regex() && arguments.get(1).is_some_and(|regex| !regex.is_constant()) {
            let text = format!(
                "the regular expression of {name}() must be a constant: each of a column's would be compiled"
            );
            return Err(QueryError::Execution(text).into());
        }
        let bytes = self.growth.bytes_max(&arguments);
        if arguments.constant() && bytes > CONSTANT_BYTES_MAX {
            return Err(QueryError::Limited(format!(
                "{name}() could make a constant of {bytes} bytes, at most {CONSTANT_BYTES_MAX} are allowed in one; \
                 make it of columns, or shorter"
            ))
            .into());
        }
        Ok(self.held.replace(bytes, &format!("what {name}() makes"))?)
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.charge(&args)?;
        self.inner.invoke_with_args(args)
    }

    /// What it becomes may be calls of other functions.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.inner.simplify(args, info)? {
            ExprSimplifyResult::Simplified(expr) => {
                ExprSimplifyResult::Simplified(guarded(expr, &self.context)?.data)
            }
            original => original,
        })
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self::new(inner, self.growth, &self.context)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        check_type(field.data_type())?;
        Ok(field)
    }

    #[allow(deprecated)] // Where it is still asked, the answer is the inner one's.
    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        self.inner.is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.inner().preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.inner().conditional_arguments(args)
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(input)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn struct_field_mapping(
        &self,
        literal_args: &[Option<ScalarValue>],
    ) -> Option<datafusion::logical_expr::StructFieldMapping> {
        self.inner.inner().struct_field_mapping(literal_args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The same expression with bounds before its calls.
///
/// # Errors
/// If a part of it has no bound.
pub fn guarded(expr: Expr, context: &Arc<QueryContext>) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| guarded_node(expr, context))
}

fn guarded_node(expr: Expr, context: &Arc<QueryContext>) -> Result<Transformed<Expr>> {
    check(&expr)?;
    Ok(match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match growth_of(func.name()) {
            Some(growth) if func.inner().downcast_ref::<Bounded>().is_none() => {
                Transformed::yes(call(Bounded::new(func, growth, context), args))
            }
            _ => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            let concat = Arc::new(ScalarUDF::new_from_impl(TextConcat::default()));
            Transformed::yes(call(Bounded::new(concat, Growth::Sum, context), vec![*left, *right]))
        }
        other => Transformed::no(other),
    })
}

fn call(function: Bounded, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: Arc::new(ScalarUDF::new_from_impl(function)), args })
}
