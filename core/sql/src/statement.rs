//! Statements that the parser read: the tree must be of the kind that the head said, and every object, flow and use
//! in it is collected.

mod definition;

use std::sync::Arc;

use crate::dialect::ast;
use crate::lineage::{Ctes, Provenance, Relation, Resolver, Scope, unsupported};
use crate::{Access, Analysis, Lineage, Name, Place, Problem, Reason, Risk, Sink, Thing, Word};
use definition::{alter_table, comment, create, create_table, create_view, drop_objects};

/// Walks one statement.
pub(crate) fn walk(
    statement: &ast::Statement,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let word = analysis.word;
    match (statement, word) {
        (ast::Statement::Query(query), Word::Select) => {
            let fields = resolver.output(query)?;
            analysis.lineage = resolver.lineage(&fields);
            return Ok(());
        }
        (ast::Statement::Insert(insert), Word::Insert) => self::insert(insert, resolver, analysis),
        (ast::Statement::Update(update), Word::Update) => self::update(update, resolver, analysis),
        (ast::Statement::Delete(delete), Word::Delete) => self::delete(delete, resolver, analysis),
        (ast::Statement::Merge(merge), Word::Merge) => self::merge(merge, resolver, analysis),
        (ast::Statement::Truncate(truncate), Word::Truncate) => self::truncate(truncate, resolver),
        (ast::Statement::CreateTable(table), Word::Create(Thing::Table | Thing::DynamicTable)) => {
            create_table(table, resolver, analysis)
        }
        (ast::Statement::CreateView(view), Word::Create(Thing::View | Thing::MaterializedView)) => {
            create_view(view, resolver, analysis)
        }
        (
            ast::Statement::CreateSchema {
                schema_name,
                or_replace,
                clone: None,
                default_collate_spec: None,
                ..
            },
            Word::Create(Thing::Schema),
        ) => {
            let ast::SchemaName::Simple(name) = schema_name else {
                return Err(unsupported("AUTHORIZATION of a schema"));
            };
            let name = Arc::new(resolver.schema_name(name)?);
            create(&name, *or_replace, resolver);
            Ok(())
        }
        (ast::Statement::CreateSequence { name, .. }, Word::Create(Thing::Sequence)) => {
            let name = Arc::new(resolver.name(name)?);
            let replaces = analysis.words.len() > 1;
            create(&name, replaces, resolver);
            Ok(())
        }
        (ast::Statement::Drop { object_type, names, table: None, .. }, Word::Drop(thing)) => {
            drop_objects(*object_type, names, thing, resolver)
        }
        (ast::Statement::AlterTable(alter), Word::Alter(Thing::Table | Thing::DynamicTable)) => {
            alter_table(alter, resolver)
        }
        (ast::Statement::Call(function), Word::Call) => {
            // It runs code that the text does not show, often with its owner's rights: a policy must allow its name.
            resolver.procedure(function, &Scope::new(&Ctes::default(), None))?;
            analysis.lineage = Lineage::Unknown("what a procedure returns is not known".into());
            return Ok(());
        }
        (ast::Statement::Comment { object_type, object_name, .. }, Word::Comment) => {
            comment(object_type, object_name, resolver)
        }
        (
            ast::Statement::CopyIntoSnowflake { .. },
            Word::CopyIntoTable | Word::CopyIntoLocation,
        ) => copy_into(statement, resolver),
        (other, word) if !agrees(other, word) => Err(Problem {
            reason: Reason::Ambiguous,
            message: format!("the statement begins like {word} and reads like something else"),
            offset: None,
        }),
        (_, word) => Err(unsupported(&format!("the statement {word}, in this form,"))),
    }?;
    analysis.lineage = Lineage::Metadata;
    Ok(())
}

/// Whether a tree can be of the kind that the head said.
pub(crate) fn agrees(statement: &ast::Statement, word: Word) -> bool {
    kind_of(statement).is_none_or(|kind| kind == word)
}

/// The kind of the trees that must never pass for another.
fn kind_of(statement: &ast::Statement) -> Option<Word> {
    match statement {
        ast::Statement::Query(_) => Some(Word::Select),
        ast::Statement::Insert(_) => Some(Word::Insert),
        ast::Statement::Update(_) => Some(Word::Update),
        ast::Statement::Delete(_) => Some(Word::Delete),
        ast::Statement::Merge(_) => Some(Word::Merge),
        ast::Statement::Truncate(_) => Some(Word::Truncate),
        ast::Statement::StartTransaction { .. } => Some(Word::Begin),
        _ => None,
    }
}

// === rows ===

fn insert(
    insert: &ast::Insert,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let ast::Insert {
        insert_token: _,
        optimizer_hints: _,
        or,
        ignore,
        into: _,
        table,
        table_alias,
        columns: _,
        overwrite,
        source,
        assignments,
        partitioned,
        after_columns,
        has_table_keyword,
        on,
        returning,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses,
        multi_table_when_clauses,
        multi_table_else_clause,
    } = insert;
    if or.is_some()
        || *ignore
        || table_alias.is_some()
        || !assignments.is_empty()
        || partitioned.is_some()
        || !after_columns.is_empty()
        || *has_table_keyword
        || on.is_some()
        || returning.is_some()
        || output.is_some()
        || *replace_into
        || priority.is_some()
        || insert_alias.is_some()
        || settings.is_some()
        || format_clause.is_some()
    {
        return Err(unsupported("this clause of an INSERT"));
    }
    if *overwrite && !analysis.words.contains(&Word::Truncate) {
        analysis.words.push(Word::Truncate);
        analysis.risks.insert(Risk::Overwrite);
    }
    let fields = match source {
        Some(source) => resolver.output(source)?,
        None => return Err(unsupported("an INSERT without rows")),
    };
    if multi_table_insert_type.is_none() {
        let ast::TableObject::TableName(name) = table else {
            return Err(unsupported("this target of an INSERT"));
        };
        let name = target(name, resolver)?;
        for field in fields {
            resolver.flow(field.provenance.sources, Sink::Table(Arc::clone(&name)));
        }
        return Ok(());
    }
    let ctes = Ctes::default();
    let mut scope = Scope::new(&ctes, None);
    scope.add(Relation {
        qualifier: vec![String::new()],
        fields: fields.into(),
        rest: resolver.is_missing().then(Provenance::clean),
    });
    for ast::MultiTableInsertWhenClause { condition, into_clauses } in multi_table_when_clauses {
        resolver.condition(condition, &scope, Place::Write)?;
        for into in into_clauses {
            insert_into(into, &scope, resolver)?;
        }
    }
    for into in multi_table_into_clauses.iter().chain(multi_table_else_clause.iter().flatten()) {
        insert_into(into, &scope, resolver)?;
    }
    Ok(())
}

fn insert_into(
    into: &ast::MultiTableInsertIntoClause,
    scope: &Scope<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    let ast::MultiTableInsertIntoClause { table_name, columns: _, values } = into;
    let name = target(table_name, resolver)?;
    let Some(ast::MultiTableInsertValues { values }) = values else {
        for visible in &scope.visible {
            let columns = visible.provenance.sources.clone();
            resolver.flow(columns, Sink::Table(Arc::clone(&name)));
        }
        return Ok(());
    };
    for value in values {
        match value {
            ast::MultiTableInsertValue::Default => {}
            ast::MultiTableInsertValue::Expr(value) => {
                let provenance = resolver.expression(value, scope)?;
                resolver.flow(provenance.sources, Sink::Table(Arc::clone(&name)));
            }
        }
    }
    Ok(())
}

/// A table that rows go into.
fn target(name: &ast::ObjectName, resolver: &mut Resolver<'_>) -> Result<Arc<Name>, Problem> {
    let name = Arc::new(resolver.name(name)?);
    resolver.exists(&name);
    resolver.touch(Arc::clone(&name), Access::Write);
    Ok(name)
}

/// The target of UPDATE, DELETE and MERGE: its columns can be named, and its rows change.
fn changed(
    factor: &ast::TableFactor,
    scope: &mut Scope<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<Arc<Name>, Problem> {
    let ast::TableFactor::Table { name, .. } = factor else {
        return Err(unsupported("this target"));
    };
    resolver.factor(factor, scope)?;
    let name = Arc::new(resolver.name(name)?);
    resolver.touch(Arc::clone(&name), Access::Write);
    Ok(name)
}

fn update(
    update: &ast::Update,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let ast::Update {
        update_token: _,
        optimizer_hints: _,
        table,
        assignments,
        from,
        selection,
        returning,
        output,
        or,
        order_by,
        limit,
    } = update;
    if returning.is_some()
        || output.is_some()
        || or.is_some()
        || !order_by.is_empty()
        || limit.is_some()
        || !table.joins.is_empty()
    {
        return Err(unsupported("this clause of an UPDATE"));
    }
    let ctes = Ctes::default();
    let mut scope = Scope::new(&ctes, None);
    let name = changed(&table.relation, &mut scope, resolver)?;
    let sources: &[ast::TableWithJoins] = match from {
        None => &[],
        Some(ast::UpdateTableFromKind::AfterSet(sources)) => sources,
        Some(ast::UpdateTableFromKind::BeforeSet(_)) => {
            return Err(unsupported("FROM before SET"));
        }
    };
    for source in sources {
        resolver.joined(source, &mut scope)?;
    }
    assign(assignments, &name, &scope, resolver)?;
    if let Some(condition) = selection {
        resolver.condition(condition, &scope, Place::Write)?;
    }
    if !is_bounded(selection.as_ref(), &scope, resolver)? {
        analysis.risks.insert(Risk::UpdateWithoutWhere);
    }
    Ok(())
}

fn assign(
    assignments: &[ast::Assignment],
    name: &Arc<Name>,
    scope: &Scope<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    for ast::Assignment { target, value } in assignments {
        match target {
            ast::AssignmentTarget::ColumnName(_) => {}
            ast::AssignmentTarget::Tuple(_) => return Err(unsupported("a tuple in SET")),
        }
        let provenance = match value {
            ast::Expr::Identifier(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("DEFAULT") =>
            {
                Provenance::constant()
            }
            value => resolver.expression(value, scope)?,
        };
        resolver.flow(provenance.sources, Sink::Table(Arc::clone(name)));
    }
    Ok(())
}

fn delete(
    delete: &ast::Delete,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let ast::Delete {
        delete_token: _,
        optimizer_hints: _,
        tables,
        from,
        using,
        selection,
        returning,
        output,
        order_by,
        limit,
    } = delete;
    let from = match from {
        ast::FromTable::WithFromKeyword(from) => from,
        ast::FromTable::WithoutKeyword(_) => return Err(unsupported("DELETE without FROM")),
    };
    let [table] = from.as_slice() else {
        return Err(unsupported("DELETE from several tables"));
    };
    if !tables.is_empty()
        || returning.is_some()
        || output.is_some()
        || !order_by.is_empty()
        || limit.is_some()
        || !table.joins.is_empty()
    {
        return Err(unsupported("this clause of a DELETE"));
    }
    let ctes = Ctes::default();
    let mut scope = Scope::new(&ctes, None);
    changed(&table.relation, &mut scope, resolver)?;
    for source in using.iter().flatten() {
        resolver.joined(source, &mut scope)?;
    }
    if let Some(condition) = selection {
        resolver.condition(condition, &scope, Place::Write)?;
    }
    if !is_bounded(selection.as_ref(), &scope, resolver)? {
        analysis.risks.insert(Risk::DeleteWithoutWhere);
    }
    Ok(())
}

fn is_bounded(
    predicate: Option<&ast::Expr>,
    scope: &Scope<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<bool, Problem> {
    predicate.map_or(Ok(false), |predicate| resolver.is_bounded(predicate, scope))
}

fn merge(
    merge: &ast::Merge,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let ast::Merge {
        merge_token: _,
        optimizer_hints: _,
        into: _,
        table,
        source,
        on,
        clauses,
        output,
    } = merge;
    if output.is_some() {
        return Err(unsupported("OUTPUT of a MERGE"));
    }
    let ctes = Ctes::default();
    let mut scope = Scope::new(&ctes, None);
    let name = changed(table, &mut scope, resolver)?;
    let own = scope.star().len();
    resolver.factor(source, &mut scope)?;
    let given = scope.star().split_off(own);
    resolver.condition(on, &scope, Place::Write)?;
    let bounded = resolver.is_bounded(on, &scope)?;
    for ast::MergeClause { when_token: _, clause_kind, predicate, action } in clauses {
        match clause_kind {
            ast::MergeClauseKind::Matched | ast::MergeClauseKind::NotMatched => {}
            ast::MergeClauseKind::NotMatchedByTarget | ast::MergeClauseKind::NotMatchedBySource => {
                return Err(unsupported("BY TARGET or BY SOURCE"));
            }
        }
        if let Some(predicate) = predicate {
            resolver.condition(predicate, &scope, Place::Write)?;
        }
        let narrowed = match predicate {
            Some(predicate) => resolver.narrows(predicate, &scope)?,
            None => false,
        };
        match action {
            ast::MergeAction::Insert(ast::MergeInsertExpr {
                insert_token: _,
                columns: _,
                kind_token: _,
                kind: ast::MergeInsertKind::Values(values),
                insert_predicate: None,
            }) => {
                for value in values.rows.iter().flat_map(|row| &row.content) {
                    let provenance = resolver.expression(value, &scope)?;
                    resolver.flow(provenance.sources, Sink::Table(Arc::clone(&name)));
                }
            }
            // ALL BY NAME: every column of the source goes into the one of its name.
            ast::MergeAction::Insert(ast::MergeInsertExpr {
                insert_token: _,
                columns: _,
                kind_token: _,
                kind: ast::MergeInsertKind::Wildcard,
                insert_predicate: None,
            }) => {
                for field in &given {
                    let columns = field.provenance.sources.clone();
                    resolver.flow(columns, Sink::Table(Arc::clone(&name)));
                }
            }
            ast::MergeAction::Update(ast::MergeUpdateExpr {
                update_token: _,
                kind,
                update_predicate: None,
                delete_predicate: None,
            }) => {
                match kind {
                    ast::MergeUpdateKind::Set(assignments) => {
                        assign(assignments, &name, &scope, resolver)?;
                    }
                    ast::MergeUpdateKind::Wildcard => {
                        for field in &given {
                            let columns = field.provenance.sources.clone();
                            resolver.flow(columns, Sink::Table(Arc::clone(&name)));
                        }
                    }
                }
                if !bounded && !narrowed {
                    analysis.risks.insert(Risk::UpdateWithoutWhere);
                }
            }
            ast::MergeAction::Delete { delete_token: _ } => {
                if !bounded && !narrowed {
                    analysis.risks.insert(Risk::DeleteWithoutWhere);
                }
            }
            ast::MergeAction::Insert(_)
            | ast::MergeAction::Update(_)
            | ast::MergeAction::DoNothing { .. } => {
                return Err(unsupported("this action of a MERGE"));
            }
        }
    }
    Ok(())
}

fn truncate(truncate: &ast::Truncate, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
    let ast::Truncate {
        table_names,
        partitions,
        table: _,
        if_exists: _,
        identity,
        cascade,
        on_cluster,
    } = truncate;
    if partitions.is_some() || identity.is_some() || cascade.is_some() || on_cluster.is_some() {
        return Err(unsupported("this clause of a TRUNCATE"));
    }
    for table in table_names {
        target(&table.name, resolver)?;
    }
    Ok(())
}

// === files ===

fn copy_into(statement: &ast::Statement, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
    let ast::Statement::CopyIntoSnowflake {
        kind,
        into,
        from_obj,
        from_transformations,
        from_query,
        partition,
        ..
    } = statement
    else {
        return Err(unsupported("this form of COPY"));
    };
    match kind {
        ast::CopyIntoSnowflakeKind::Table => {
            if from_query.is_some() || from_transformations.is_some() || from_obj.is_none() {
                return Err(unsupported("COPY INTO a table from a query over files"));
            }
            target(into, resolver).map(drop)
        }
        ast::CopyIntoSnowflakeKind::Location => {
            let sink = Sink::Location("the location of COPY INTO".into());
            if let Some(query) = from_query {
                for field in resolver.output(query)? {
                    resolver.flow(field.provenance.sources, sink.clone());
                }
            }
            if let Some(table) = from_obj {
                resolver.flow_of_all(table, &sink)?;
            }
            if partition.is_some() || (from_query.is_none() && from_obj.is_none()) {
                return Err(unsupported("this form of COPY INTO a location"));
            }
            Ok(())
        }
    }
}
