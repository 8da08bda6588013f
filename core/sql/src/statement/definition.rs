//! CREATE, ALTER, DROP and COMMENT of tables, views and what is named like them.

use std::sync::Arc;

use crate::dialect::ast;
use crate::lineage::{Ctes, Resolver, Scope, stored, unsupported};
use crate::{Access, Analysis, CatalogColumn, Definition, Name, Object, Problem, Sink, Thing};

/// A name is taken, in place of what had it or of nothing.
pub(super) fn create(name: &Arc<Name>, replaces: bool, resolver: &mut Resolver<'_>) {
    resolver.touch(Arc::clone(name), Access::Create);
    if replaces {
        resolver.touch(Arc::clone(name), Access::Drop);
    }
}

pub(super) fn create_table(
    table: &ast::CreateTable,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    if table.external
        || table.iceberg
        || table.hive_formats.as_ref().is_some_and(|formats| {
            formats.storage.is_some() || formats.location.is_some() || formats.row_format.is_some()
        })
        || table.file_format.is_some()
        || table.location.is_some()
        || table.version.is_some()
        || table.on_cluster.is_some()
        || table.primary_key.is_some()
        || table.order_by.is_some()
        || table.partition_by.is_some()
        || table.clustered_by.is_some()
        || table.inherits.is_some()
        || table.partition_of.is_some()
        || table.for_values.is_some()
        || table.with_aggregation_policy.is_some()
        || table.with_row_access_policy.is_some()
        || table.with_storage_lifecycle_policy.is_some()
        || table.with_tags.is_some()
        || table.external_volume.is_some()
        || table.with_connection.is_some()
        || table.base_location.is_some()
        || table.catalog.is_some()
        || table.distkey.is_some()
        || table.sortkey.is_some()
    {
        return Err(unsupported("this clause of a CREATE TABLE"));
    }
    let name = Arc::new(resolver.name(&table.name)?);
    analysis.temporary = table.temporary || table.volatile;
    create(&name, table.or_replace || analysis.words.len() > 1, resolver);
    if analysis.temporary {
        resolver.claim(&name);
    }
    for column in &table.columns {
        for option in &column.options {
            column_option(&option.option, resolver)?;
        }
    }
    let mut columns: Vec<Option<String>> =
        table.columns.iter().map(|column| stored(&column.name).ok()).collect();
    if let Some(query) = &table.query {
        let fields = resolver.output(query)?;
        if columns.is_empty() {
            columns = fields.iter().map(|field| field.name.clone()).collect();
        }
        for field in fields {
            resolver.flow(field.provenance.sources, Sink::Table(Arc::clone(&name)));
        }
    }
    let mut model = None;
    if let Some(source) = &table.clone {
        model = Some(Arc::new(resolver.name(source)?));
        resolver.flow_of_all(source, &Sink::Table(Arc::clone(&name)))?;
    }
    if let Some(
        ast::CreateTableLikeKind::Parenthesized(like) | ast::CreateTableLikeKind::Plain(like),
    ) = &table.like
    {
        let source = Arc::new(resolver.name(&like.name)?);
        resolver.exists(&source);
        resolver.touch(Arc::clone(&source), Access::Read);
        model = Some(source);
    }
    let there = resolver.known(&name).filter(|_| table.if_not_exists);
    let model = model.and_then(|model| resolver.known(&model));
    analysis.made = match (there, model) {
        (Some(there), _) => Some(Object::clone(there)),
        (None, Some(model)) => Some(Object {
            name: Name::clone(&name),
            columns: model.columns.clone(),
            definition: Definition::Table,
        }),
        (None, None) => made(&name, columns),
    };
    Ok(())
}

fn column_option(option: &ast::ColumnOption, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
    match option {
        ast::ColumnOption::Null
        | ast::ColumnOption::NotNull
        | ast::ColumnOption::PrimaryKey(_)
        | ast::ColumnOption::Unique(_)
        | ast::ColumnOption::Collation(_)
        | ast::ColumnOption::Comment(_)
        | ast::ColumnOption::Identity(_) => Ok(()),
        ast::ColumnOption::Default(value) => {
            let ctes = Ctes::default();
            resolver.expression(value, &Scope::new(&ctes, None)).map(drop)
        }
        _ => Err(unsupported("this option of a column")),
    }
}

pub(super) fn create_view(
    view: &ast::CreateView,
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let name = Arc::new(resolver.name(&view.name)?);
    analysis.temporary = view.temporary;
    create(&name, view.or_replace || view.or_alter || analysis.words.len() > 1, resolver);
    if view.temporary {
        resolver.claim(&name);
    }
    if view.to.is_some() {
        return Err(unsupported("TO of a view"));
    }
    let fields = resolver.output(&view.query)?;
    let columns = if view.columns.is_empty() {
        fields.iter().map(|field| field.name.clone()).collect()
    } else {
        view.columns.iter().map(|column| stored(&column.name).ok()).collect()
    };
    analysis.made = made(&name, columns);
    for field in fields {
        resolver.flow(field.provenance.sources, Sink::Definition(Arc::clone(&name)));
    }
    Ok(())
}

/// What is made, where every column has a name in the text. Types are the server's to say.
fn made(name: &Name, columns: Vec<Option<String>>) -> Option<Object> {
    let columns: Option<Vec<CatalogColumn>> = columns
        .into_iter()
        .map(|name| Some(CatalogColumn { name: name?, data_type: String::new() }))
        .collect();
    let columns = columns.filter(|columns| !columns.is_empty())?;
    Some(Object { name: name.clone(), columns, definition: Definition::Table })
}

pub(super) fn drop_objects(
    kind: ast::ObjectType,
    names: &[ast::ObjectName],
    thing: Thing,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    for name in names {
        let name = match (kind, thing) {
            (
                ast::ObjectType::Table,
                Thing::Table | Thing::DynamicTable | Thing::ExternalTable | Thing::IcebergTable,
            )
            | (ast::ObjectType::View, Thing::View)
            | (ast::ObjectType::MaterializedView, Thing::MaterializedView)
            | (ast::ObjectType::Sequence, Thing::Sequence)
            | (ast::ObjectType::Stage, Thing::Stage)
            | (ast::ObjectType::Stream, Thing::Stream) => resolver.name(name)?,
            (ast::ObjectType::Schema, Thing::Schema) => resolver.schema_name(name)?,
            (ast::ObjectType::Database, Thing::Database) => {
                match crate::lineage::parts(name)?.as_slice() {
                    [database] => Name::new(database.clone(), "", ""),
                    _ => return Err(unsupported("a database with several parts in its name")),
                }
            }
            _ => return Err(unsupported("DROP of this kind of thing")),
        };
        resolver.touch(Arc::new(name), Access::Drop);
    }
    Ok(())
}

pub(super) fn alter_table(
    alter: &ast::AlterTable,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    let ast::AlterTable {
        name: written,
        if_exists: _,
        only,
        operations,
        location,
        on_cluster,
        table_type: _,
        end_token: _,
    } = alter;
    if *only || location.is_some() || on_cluster.is_some() {
        return Err(unsupported("this clause of an ALTER TABLE"));
    }
    let name = Arc::new(resolver.name(written)?);
    resolver.touch(Arc::clone(&name), Access::Alter);
    for operation in operations {
        match operation {
            ast::AlterTableOperation::AddColumn { column_def, column_position: None, .. } => {
                for option in &column_def.options {
                    column_option(&option.option, resolver)?;
                }
            }
            ast::AlterTableOperation::DropColumn { .. } => {
                resolver.touch(Arc::clone(&name), Access::Drop);
            }
            ast::AlterTableOperation::RenameColumn { .. }
            | ast::AlterTableOperation::DropPrimaryKey { .. }
            | ast::AlterTableOperation::DropConstraint { .. }
            | ast::AlterTableOperation::SuspendRecluster
            | ast::AlterTableOperation::ResumeRecluster
            | ast::AlterTableOperation::DropClusteringKey
            | ast::AlterTableOperation::ClusterBy { .. } => {}
            ast::AlterTableOperation::RenameTable { table_name } => {
                let (ast::RenameTableNameKind::To(new) | ast::RenameTableNameKind::As(new)) =
                    table_name;
                let new = Arc::new(resolver.name(new)?);
                resolver.touch(Arc::clone(&name), Access::Drop);
                resolver.touch(new, Access::Create);
            }
            ast::AlterTableOperation::SwapWith { table_name } => {
                let other = Arc::new(resolver.name(table_name)?);
                for one in [&name, &other] {
                    resolver.touch(Arc::clone(one), Access::Alter);
                    resolver.touch(Arc::clone(one), Access::Drop);
                }
                resolver.flow_of_all(table_name, &Sink::Definition(Arc::clone(&name)))?;
            }
            _ => return Err(unsupported("this operation of an ALTER TABLE")),
        }
    }
    // Whatever changes about a table with masked columns, its masks could miss it afterwards.
    resolver.flow_of_all(written, &Sink::Definition(Arc::clone(&name)))
}

pub(super) fn comment(
    kind: &ast::CommentObject,
    name: &ast::ObjectName,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    let name = match kind {
        ast::CommentObject::Table
        | ast::CommentObject::View
        | ast::CommentObject::MaterializedView
        | ast::CommentObject::Sequence => resolver.name(name)?,
        ast::CommentObject::Schema => resolver.schema_name(name)?,
        ast::CommentObject::Column => {
            let parts = crate::lineage::parts(name)?;
            match parts.split_last() {
                Some((_, table)) if !table.is_empty() => resolver.qualify(table)?,
                _ => return Err(unsupported("COMMENT ON COLUMN without its table")),
            }
        }
        _ => return Err(unsupported("COMMENT ON this kind of thing")),
    };
    resolver.touch(Arc::new(name), Access::Alter);
    Ok(())
}
