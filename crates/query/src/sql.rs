//! SQL over the same snapshot, scan and limits as PromQL: one read-only DataFusion session per
//! statement.
//!
//! All of it runs on the query runtime, once the statement has its place:
//!
//! 1. The gate: one statement, and that a `SELECT` (or `VALUES`, `WITH`) or an `EXPLAIN` of one.
//! 2. A snapshot is pinned; the session sees two tables over it, [`tables`], and nothing else.
//! 3. DataFusion plans, with [`growth`] before every function that can make much of little; [`bounds`] turns what `WHERE` says of name, labels and time into matchers and
//!    a time range, so that files are pruned before anything is read.
//! 4. The answer is collected; rows, bytes and time have bounds with names.
//!
//! A statement waits for the same places as a PromQL query and ends at the same timeout.

mod bounds;
mod clauses;
mod columns;
mod error;
mod growth;
mod meaning;
mod named;
mod names;
mod operators;
mod rows;
mod schema;
mod tables;
mod types;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Analyzer;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast::{DescribeAlias, ObjectName, Query, Statement as SqlStatement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};
use futures::StreamExt as _;
use promontory_promql::engine::{EngineError, RequestContext};

use crate::context::{QueryContext, QueryExtension};
use crate::engine::QueryEngine;
use crate::error::to_engine_error;
use crate::memory::ANSWER;
use crate::session::{Session, Sessions};
use crate::sql::clauses::check_clauses;
use crate::sql::error::{planning_error, sql_error, syntax};
use crate::sql::growth::{
    COPIED_BYTES_WISH, Guard, InTime, NoStructs, check_inlined, copied_bytes, keep_known,
};
use crate::sql::meaning::{Meaning, Orders, SqlTimes};
use crate::sql::names::{name_columns, without_marks};
use crate::sql::schema::{INFORMATION_SCHEMA, LIST_TABLES, described, information_schema, list_columns};
use crate::sql::tables::{SqlTable, TableKind, TableScope};
use crate::view::RequestView;

pub use crate::sql::growth::sql_functions;
pub use crate::sql::meaning::{iso_date, iso_time};
pub use crate::sql::types::sql_type;

/// The catalog and the schema in which the tables lie.
const CATALOG: &str = "promontory";
const SCHEMA: &str = "public";

/// Parentheses and subqueries that one statement may nest.
const NESTING_MAX: usize = 64;

/// Operators and keywords of one statement. Each may be one more level of the expression, which planning
/// walks recursively; lists of any length need none.
const OPERATORS_MAX: usize = 1_000;

/// Queries of one statement, those of `WITH` counted as often as they are named: each is planned anew.
const NAMED_MAX: u64 = 1_000;

/// A statement and what its answer may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlQuery {
    /// One statement, as it was sent.
    pub text: String,
    /// Rows of the answer; one more is an error: `--sql.max-rows`.
    pub rows_max: usize,
}

/// What a statement answers.
#[derive(Clone, Debug)]
pub struct SqlAnswer {
    /// Names and types of the columns, also where there are no rows.
    pub schema: SchemaRef,
    /// The rows, of `schema`; no more than [`SqlQuery::rows_max`] in all.
    pub batches: Vec<RecordBatch>,
    /// What is missing or uncertain in the snapshot.
    pub warnings: Vec<String>,
}

impl QueryEngine {
    /// Answers one SQL statement over the tenant's snapshot.
    ///
    /// # Errors
    /// `Invalid` if the statement is not one `SELECT` or `EXPLAIN` or cannot be planned, `Unanswerable` if
    /// it fails over this data, `Limited` if it passes a limit, `TimedOut`, `Unavailable`.
    pub async fn sql(&self, request: &RequestContext, query: &SqlQuery) -> Result<SqlAnswer, EngineError> {
        let SqlQuery { text, rows_max } = query.clone();
        let run = move |session: Session| async move {
            let statement = gate(&text)?;
            let view = session.view().await?;
            answer(session.shared(), view, statement, rows_max, &session.context).await
        };
        self.sessions.run(request, run).await
    }
}

/// A statement that only reads.
#[derive(Debug)]
enum Asked {
    /// Its rows.
    Rows(Statement),
    /// The columns of its rows.
    Columns(Statement),
}

/// The statement, if it only reads.
fn gate(text: &str) -> Result<Asked, EngineError> {
    let bad = |text: String| Err(EngineError::Invalid(text));
    check_operators(text)?;
    let parsed = parsed(text).map_err(|error| EngineError::Invalid(syntax(&error)));
    let mut statements = parsed?;
    let count = statements.len();
    match (statements.pop_front(), count) {
        (Some(statement), 1) => allowed(statement).map_err(EngineError::Invalid),
        (None, _) => bad("there is no statement".into()),
        _ => bad(format!("one statement at a time, not {count}")),
    }
}

fn parsed(text: &str) -> Result<VecDeque<Statement>, DataFusionError> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| ParserError::TokenizerError(error.to_string()));
    let tokens = tokens.map_err(|error| DataFusionError::SQL(Box::new(error), None))?;
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().map(column_and_not_keyword).collect();
    DFParserBuilder::new(tokens).with_recursion_limit(NESTING_MAX).build()?.parse_statements()
}

/// `value` is a column of ours. To the parser it is a keyword that comes between the name and the value of an
/// argument, so that `sum(CASE value WHEN 1 ...)` would be an argument of the name `CASE`.
fn column_and_not_keyword(token: TokenWithSpan) -> TokenWithSpan {
    let TokenWithSpan { token, span } = token;
    let token = match token {
        Token::Word(word) if word.keyword == Keyword::VALUE => {
            Token::Word(Word { keyword: Keyword::NoKeyword, ..word })
        }
        other => other,
    };
    TokenWithSpan { token, span }
}

/// The statement as it is planned: with names for its columns, and lists of tables and columns as queries.
fn allowed(statement: Statement) -> Result<Asked, String> {
    let Statement::Statement(inner) = statement else { return explained(statement).map(Asked::Rows) };
    match *inner {
        SqlStatement::Query(query) => rows_of(query).map(Asked::Rows),
        SqlStatement::ShowTables { .. } => listed(LIST_TABLES.to_owned()),
        SqlStatement::ShowColumns { show_options, .. } => {
            let of = show_options.show_in.and_then(|of| of.parent_name);
            columns_of(of.ok_or("SHOW COLUMNS wants FROM and a table")?)
        }
        SqlStatement::ExplainTable { table_name, .. } => columns_of(table_name),
        SqlStatement::Explain {
            describe_alias: DescribeAlias::Describe | DescribeAlias::Desc,
            statement,
            ..
        } => match *statement {
            SqlStatement::Query(query) => rows_of(query).map(Asked::Columns),
            _ => Err(READS_ONLY.to_owned()),
        },
        _ => Err(READS_ONLY.to_owned()),
    }
}

const READS_ONLY: &str = "only SELECT, EXPLAIN, DESCRIBE, SHOW TABLES and SHOW COLUMNS are accepted: SQL reads here and \
                          never writes";

fn rows_of(mut query: Box<Query>) -> Result<Statement, String> {
    check_clauses(&query)?;
    name_columns(&mut query);
    Ok(Statement::Statement(Box::new(SqlStatement::Query(query))))
}

fn explained(statement: Statement) -> Result<Statement, String> {
    match statement {
        Statement::Explain(explain) => {
            let inner = match *explain.statement {
                Statement::Statement(inner) => match *inner {
                    SqlStatement::Query(query) => rows_of(query)?,
                    _ => return Err(READS_ONLY.to_owned()),
                },
                _ => return Err(READS_ONLY.to_owned()),
            };
            Ok(Statement::Explain(ExplainStatement { statement: Box::new(inner), ..explain }))
        }
        _ => Err(READS_ONLY.to_owned()),
    }
}

fn columns_of(table: ObjectName) -> Result<Asked, String> {
    let name = table.to_string();
    let kinds = TableKind::ALL.map(TableKind::name);
    let kind = kinds.iter().find(|kind| name.trim_matches('"').rsplit('.').next() == Some(kind));
    match kind {
        Some(kind) => listed(list_columns(kind)),
        None => Err(format!("there is no table {name}, but there are {}", kinds.join(" and "))),
    }
}

fn listed(query: String) -> Result<Asked, String> {
    let mut statements = parsed(&query).map_err(|error| error.to_string())?;
    statements.pop_front().map(Asked::Rows).ok_or_else(|| "there is no statement".to_owned())
}

/// Refuses what would nest too deeply or be planned too often, before a tree is built of it.
fn check_operators(text: &str) -> Result<(), EngineError> {
    // What cannot be tokenized, the parser says better.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else { return Ok(()) };
    let times = named::times_planned(&tokens);
    if times > NAMED_MAX {
        return Err(EngineError::Invalid(format!(
            "the names of WITH stand for {times} queries once each is put in where it is named, at most {NAMED_MAX} are \
             accepted; name them less often"
        )));
    }
    let nests = |token: &&Token| match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::Comma | Token::Period | Token::Number(..) | Token::Whitespace(_) => false,
        Token::LParen | Token::RParen | Token::SemiColon | Token::EOF => false,
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => false,
        _ => true,
    };
    let operators = tokens.iter().filter(nests).count();
    if operators > OPERATORS_MAX {
        return Err(EngineError::Invalid(format!(
            "the statement has {operators} operators and keywords, at most {OPERATORS_MAX}; write long alternatives as IN (...)"
        )));
    }
    Ok(())
}

async fn answer(
    sessions: &Sessions,
    view: Arc<RequestView>,
    asked: Asked,
    rows_max: usize,
    context: &Arc<QueryContext>,
) -> Result<SqlAnswer, EngineError> {
    let warnings = view.warnings();
    let session = SessionContext::new_with_state(state(sessions, view, context)?);
    let (Asked::Rows(statement) | Asked::Columns(statement)) = &asked;
    let plan = session.state().statement_to_plan(statement.clone()).await.map_err(planning_error)?;
    read_only_options().verify_plan(&plan).map_err(planning_error)?;
    check_inlined(&plan).map_err(planning_error)?;
    if matches!(asked, Asked::Columns(_)) {
        let (physical, _) = physical(session.state(), &plan).await?;
        let batch = described(&without_marks(&physical.schema())).map_err(to_engine_error)?;
        return Ok(SqlAnswer { schema: batch.schema(), batches: vec![batch], warnings });
    }
    let (schema, batches) = collect(&session, &plan, rows_max, context).await?;
    Ok(SqlAnswer { schema: without_marks(&schema), batches, warnings })
}

fn read_only_options() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// A session that holds the two tables over one snapshot.
fn state(
    sessions: &Sessions,
    view: Arc<RequestView>,
    context: &Arc<QueryContext>,
) -> Result<SessionState, EngineError> {
    let settings = &sessions.settings;
    let scope = TableScope {
        view,
        context: Arc::clone(context),
        partitions_max: settings.partitions_max,
        batch_values: settings.batch_values,
    };
    let schema = Arc::new(MemorySchemaProvider::new());
    let catalog = Arc::new(MemoryCatalogProvider::new());
    let register = || {
        for kind in TableKind::ALL {
            schema.register_table(kind.name().into(), Arc::new(SqlTable::new(kind, scope.clone())))?;
        }
        catalog.register_schema(INFORMATION_SCHEMA, information_schema()?)?;
        catalog.register_schema(SCHEMA, Arc::clone(&schema) as _)
    };
    register().map_err(to_engine_error)?;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(settings.partitions_max.max(1));
    config.options_mut().execution.time_zone = Some("UTC".into());
    // Names what it takes out of a join's condition wrongly.
    config.options_mut().optimizer.enable_leaf_expression_pushdown = false;
    // They compare as the library does.
    config.options_mut().optimizer.enable_dynamic_filter_pushdown = false;
    config.options_mut().extensions.insert(QueryExtension(Arc::clone(context)));
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(Orders));
    rules.push(Arc::new(Guard(Arc::clone(context))));
    rules.push(Arc::new(Meaning(Arc::clone(context))));
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(sessions.environment(context)))
        .with_expr_planners(vec![Arc::new(NoStructs)])
        .with_default_features()
        .with_type_planner(Arc::new(SqlTimes))
        .with_analyzer_rules(rules)
        .with_optimizer_rule(Arc::new(InTime(Arc::clone(context))))
        .build();
    keep_known(&mut state, context).map_err(to_engine_error)?;
    state.catalog_list().register_catalog(CATALOG.into(), catalog);
    Ok(state)
}

/// Lets the task give way, and so end in time, behind every operator that may make many batches out
/// of one: DataFusion sees to that only for leaves and exchanges, and a cross join of two small tables
/// runs for hours without ever coming back to them.
fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let wrap = |plan: Arc<dyn ExecutionPlan>| {
        let multiplies =
            plan.children().len() > 1 || matches!(plan.name(), "UnnestExec" | "RecursiveQueryExec");
        Ok(if multiplies {
            Transformed::yes(Arc::new(CooperativeExec::new(plan)) as _)
        } else {
            Transformed::no(plan)
        })
    };
    plan.transform_up(wrap).data()
}

/// The operators and what they run in. Constants are copied for each row of a batch, so that with large ones
/// batches have fewer rows; some operators take their number of rows while they are planned.
async fn physical(
    state: SessionState,
    plan: &LogicalPlan,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>), EngineError> {
    let mut state = state;
    loop {
        let physical = state.create_physical_plan(plan).await.map_err(planning_error)?;
        let copied = copied_bytes(&physical).map_err(to_engine_error)?;
        let rows = (COPIED_BYTES_WISH / copied.max(1)).max(1);
        if rows >= state.config().batch_size() {
            let physical = interruptible(physical).map_err(to_engine_error)?;
            return Ok((physical, state.task_ctx()));
        }
        let config = state.config().clone().with_batch_size(rows);
        state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
    }
}

/// Runs the plan; the bounds of the answer are held while it comes.
async fn collect(
    session: &SessionContext,
    plan: &LogicalPlan,
    rows_max: usize,
    context: &QueryContext,
) -> Result<(SchemaRef, Vec<RecordBatch>), EngineError> {
    let (physical, task) = physical(session.state(), plan).await?;
    let schema = physical.schema();
    let mut stream = execute_stream(physical, task).map_err(sql_error)?;
    let (mut rows, mut batches) = (0, Vec::new());
    while let Some(batch) = stream.next().await {
        context.check().map_err(to_engine_error)?;
        let batch = batch.map_err(sql_error)?;
        rows += batch.num_rows();
        if rows > rows_max {
            return Err(EngineError::Limited(format!(
                "the answer has more than {rows_max} rows; add a LIMIT, aggregate, or raise --sql.max-rows"
            )));
        }
        let held = context.kept().grow(batch.get_array_memory_size(), ANSWER);
        held.map_err(|error| to_engine_error(error.into()))?;
        batches.push(batch);
    }
    Ok((schema, batches))
}

#[cfg(test)]
mod tests;
