//! Groups: aggregations, and the rows that some of them give.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{NullHandling, Result, UnnestOptions};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use promontory_plan::{LabelProjection, Node, ScalarArg};
use promontory_promql::Grid;
use promontory_promql::kernels::SelectFunction;

use super::{Columns, PhysicalPlanner, PlanRef, coalesce, column, is_in_order, known};
use crate::aggregates::{AggregateKind, GroupCall, PromqlAggregate, Reads, row_fields, rows_type};
use crate::functions::{self as f, ChoiceCall, ExprRef, SetFromCall};
use crate::table::{LABELS, VALUES, labels_field, values_field};

/// The labels of a group beside the rows that it gave.
const GROUP: &str = "group";

impl PhysicalPlanner<'_> {
    /// One row per group with a state of fixed size: two stages over several partitions.
    pub(super) fn group(
        &self,
        input: PlanRef,
        by: &LabelProjection,
        kind: AggregateKind,
        grid: Grid,
    ) -> Result<PlanRef> {
        let keys = vec![(self.label_expr(by, column(LABELS, 0))?, LABELS.to_owned())];
        let call = GroupCall { labels: None, values: column(VALUES, 1), unknown: Vec::new() };
        self.aggregate(input, PhysicalGroupBy::new_single(keys), kind, call, grid)
    }

    /// The whole input as one row, even of no input.
    pub(super) fn whole(&self, input: PlanRef, kind: AggregateKind, grid: Grid) -> Result<PlanRef> {
        let none = PhysicalGroupBy::new_single(Vec::new());
        let call = GroupCall { labels: None, values: column(VALUES, 1), unknown: Vec::new() };
        self.aggregate(input, none, kind, call, grid)
    }

    /// One stage, for aggregations that hold rows.
    pub(super) fn group_rows(
        &self,
        columns: Columns,
        by: &LabelProjection,
        kind: AggregateKind,
        grid: Grid,
    ) -> Result<PlanRef> {
        let call = GroupCall {
            labels: (kind.reads() == Reads::LabelsAndValues).then(|| columns.labels()),
            values: columns.column(VALUES, 1),
            unknown: columns.params.clone(),
        };
        let keys = vec![(self.label_expr(by, columns.labels())?, LABELS.to_owned())];
        let input = coalesce(columns.plan);
        self.aggregate(input, PhysicalGroupBy::new_single(keys), kind, call, grid)
    }

    pub(super) fn count_values(
        &self,
        input: &Node,
        label: &str,
        by: &LabelProjection,
        grid: Grid,
    ) -> Result<PlanRef> {
        let columns = self.with_unknown(self.vector(input)?, &[])?;
        let groups = self.group_rows(columns, by, AggregateKind::CountValues, grid)?;
        let rows = self.unnest(groups)?;
        let (labels, values) = (column(GROUP, 0), column(LABELS, 1));
        let call = SetFromCall { labels, to: label.to_owned(), values };
        let labels = self.call(f::LABEL_SET_FROM, call, labels_field())?;
        self.project(rows, labels, column(VALUES, 2))
    }

    fn aggregate(
        &self,
        input: PlanRef,
        by: PhysicalGroupBy,
        kind: AggregateKind,
        call: GroupCall<ExprRef>,
        grid: Grid,
    ) -> Result<PlanRef> {
        let has_stages = kind.has_stages();
        let function =
            AggregateUDF::new_from_impl(PromqlAggregate::new(kind, grid, Arc::clone(&self.context)));
        let display = format!("{}({VALUES})", function.name());
        let schema = input.schema();
        let expr = AggregateExprBuilder::new(Arc::new(function), call.write())
            .schema(Arc::clone(&schema))
            .human_display(display)
            .human_display_alias(VALUES)
            .alias(VALUES)
            .build()?;
        let expr = vec![Arc::new(expr)];
        let by = Arc::new(by);
        if input.output_partitioning().partition_count() == 1 || !has_stages {
            let mode = AggregateMode::Single;
            return Ok(Arc::new(AggregateExec::try_new(
                mode,
                by,
                expr,
                vec![None],
                coalesce(input),
                schema,
            )?));
        }
        let final_by = by.as_final();
        let mode = AggregateMode::Partial;
        let partial = AggregateExec::try_new(mode, by, expr.clone(), vec![None], input, Arc::clone(&schema))?;
        let merged = coalesce(Arc::new(partial));
        Ok(Arc::new(AggregateExec::try_new(
            AggregateMode::Final,
            final_by,
            expr,
            vec![None],
            merged,
            schema,
        )?))
    }

    pub(super) fn select(
        &self,
        input: PlanRef,
        function: SelectFunction,
        param: &ScalarArg,
        by: &LabelProjection,
        grid: Grid,
    ) -> Result<PlanRef> {
        let kind = match function {
            SelectFunction::Top(order) => AggregateKind::TopK(order, known(param)),
            SelectFunction::Limit => AggregateKind::LimitK(known(param)),
            SelectFunction::LimitRatio => return self.limit_ratio(input, param),
        };
        // The choice among equal values depends on the order of rows.
        let merged = coalesce(input);
        let input = if is_in_order(&merged) { merged } else { self.sort_by_labels(merged)? };
        let columns = self.with_unknown(input, std::slice::from_ref(param))?;
        let groups = self.group_rows(columns, by, kind, grid)?;
        let rows = self.unnest(groups)?;
        self.project(rows, column(LABELS, 1), column(VALUES, 2))
    }

    fn limit_ratio(&self, input: PlanRef, ratio: &ScalarArg) -> Result<PlanRef> {
        let columns = self.with_params(input, std::slice::from_ref(ratio))?;
        let (labels, values, scalar) = (columns.labels(), columns.column(VALUES, 1), columns.param()?);
        let call = ChoiceCall { labels: Arc::clone(&labels), values, scalar };
        let values = self.call(f::LIMIT_RATIO, call, values_field())?;
        self.project(columns.plan, labels, values)
    }

    /// From `group`, list of (`labels`, `values`) to one row for each element of the list.
    fn unnest(&self, groups: PlanRef) -> Result<PlanRef> {
        let exprs = [
            ProjectionExpr { expr: column(LABELS, 0), alias: GROUP.into() },
            ProjectionExpr { expr: column(VALUES, 1), alias: "rows".into() },
        ];
        let groups = Arc::new(ProjectionExec::try_new(exprs, groups)?);
        let group = Field::new(GROUP, DataType::BinaryView, true);
        let row = match rows_type() {
            DataType::List(item) => Field::new("rows", item.data_type().clone(), true),
            other => Field::new("rows", other, true),
        };
        let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
        let schema = Arc::new(Schema::new(vec![group.clone(), row]));
        let list = vec![ListUnnest { index_in_input_schema: 1, depth: 1 }];
        let rows = UnnestExec::new(groups, list, Vec::new(), schema, options.clone())?;
        let mut fields: Vec<FieldRef> = vec![Arc::new(group)];
        fields.extend(row_fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
        let schema = Arc::new(Schema::new(fields));
        Ok(Arc::new(UnnestExec::new(Arc::new(rows), Vec::new(), vec![1], schema, options)?))
    }
}
