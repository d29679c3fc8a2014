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
mod growth;
mod named;
mod rows;
mod tables;

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
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures::StreamExt as _;
use promontory_promql::engine::{EngineError, RequestContext};

use crate::context::{QueryContext, QueryExtension};
use crate::engine::QueryEngine;
use crate::error::to_engine_error;
use crate::memory::ANSWER;
use crate::session::{Session, Sessions};
use crate::sql::growth::{
    COPIED_BYTES_WISH, Guard, InTime, NoStructs, check_inlined, copied_bytes, keep_known,
};
use crate::sql::tables::{SqlTable, TableKind, TableScope};
use crate::view::RequestView;

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

/// The statement, if it only reads.
fn gate(text: &str) -> Result<Statement, EngineError> {
    let bad = |text: String| Err(EngineError::Invalid(text));
    check_operators(text)?;
    let parsed = DFParserBuilder::new(text)
        .with_recursion_limit(NESTING_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = match parsed {
        Ok(statements) => statements,
        Err(error) => return bad(syntax(&error)),
    };
    let count = statements.len();
    match (statements.pop_front(), count) {
        (Some(statement), 1) if reads_only(&statement) => Ok(statement),
        (Some(_), 1) => bad("only SELECT and EXPLAIN are accepted: SQL reads here and never writes".into()),
        (None, _) => bad("there is no statement".into()),
        _ => bad(format!("one statement at a time, not {count}")),
    }
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

fn reads_only(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => match &**statement {
            SqlStatement::Query(_) => true,
            SqlStatement::Explain { statement, .. } => matches!(**statement, SqlStatement::Query(_)),
            _ => false,
        },
        Statement::Explain(ExplainStatement { statement, .. }) => reads_only(statement),
        _ => false,
    }
}

async fn answer(
    sessions: &Sessions,
    view: Arc<RequestView>,
    statement: Statement,
    rows_max: usize,
    context: &Arc<QueryContext>,
) -> Result<SqlAnswer, EngineError> {
    let warnings = view.warnings();
    let session = SessionContext::new_with_state(state(sessions, view, context)?);
    let plan = session.state().statement_to_plan(statement).await.map_err(planning_error)?;
    read_only_options().verify_plan(&plan).map_err(planning_error)?;
    check_inlined(&plan).map_err(planning_error)?;
    let (schema, batches) = collect(&session, &plan, rows_max, context).await?;
    Ok(SqlAnswer { schema, batches, warnings })
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
        catalog.register_schema(SCHEMA, Arc::clone(&schema) as _)
    };
    register().map_err(to_engine_error)?;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(settings.partitions_max.max(1));
    config.options_mut().extensions.insert(QueryExtension(Arc::clone(context)));
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(sessions.environment(context)))
        .with_expr_planners(vec![Arc::new(NoStructs)])
        .with_default_features()
        .with_analyzer_rule(Arc::new(Guard(Arc::clone(context))))
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
    let mut stream = execute_stream(physical, task).map_err(to_engine_error)?;
    let (mut rows, mut batches) = (0, Vec::new());
    while let Some(batch) = stream.next().await {
        context.check().map_err(to_engine_error)?;
        let batch = batch.map_err(to_engine_error)?;
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

/// What goes wrong before anything is read is the statement's fault, unless the store failed.
fn planning_error(error: DataFusionError) -> EngineError {
    match error.find_root() {
        DataFusionError::External(_)
        | DataFusionError::Internal(_)
        | DataFusionError::ResourcesExhausted(_) => to_engine_error(error),
        _ => EngineError::Invalid(plain(&error)),
    }
}

fn syntax(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::SQL(parser, _) if matches!(**parser, ParserError::RecursionLimitExceeded) => {
            format!("the statement nests deeper than {NESTING_MAX} levels")
        }
        _ => plain(error),
    }
}

/// The cause of an error in one line: around it stand names of DataFusion's rules, behind it hints for
/// people who compiled it.
fn plain(error: &DataFusionError) -> String {
    error.find_root().strip_backtrace().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
