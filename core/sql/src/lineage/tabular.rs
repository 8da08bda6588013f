//! Table functions: their rows show what went in.

use std::rc::Rc;
use std::sync::Arc;

use super::class::Class;
use super::provenance::{Provenance, Shape};
use super::scope::{Field, Scope};
use super::table::Rows;
use super::{Resolver, Steering, function_parts, stored, unsupported};
use crate::dialect::ast;
use crate::{Access, Place, Problem, Sink};

impl Resolver<'_> {
    /// Arguments of a table function: its rows show them.
    pub(super) fn table_function(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        over: Option<&ast::WindowType>,
        scope: &Scope<'_>,
    ) -> Result<Rows, Problem> {
        let (parts, method) = function_parts(name)?;
        let columns: Option<&[&str]> = match parts.as_slice() {
            _ if method.is_some() => None,
            [one] => match one.as_str() {
                "FLATTEN" => Some(&["SEQ", "KEY", "PATH", "INDEX", "VALUE", "THIS"]),
                "SPLIT_TO_TABLE" | "STRTOK_SPLIT_TO_TABLE" => Some(&["SEQ", "INDEX", "VALUE"]),
                "GENERATOR" => Some(&[]),
                "GETNEXTVAL" => return self.next_values(args),
                "RESULT_SCAN" => return self.earlier(args),
                _ => None,
            },
            // Histories and the like show what others did.
            _ if parts.iter().any(|part| part == "INFORMATION_SCHEMA") => {
                return Err(unsupported("a table function of INFORMATION_SCHEMA"));
            }
            _ => None,
        };
        if over.is_some() && columns.is_some() {
            return Err(unsupported("OVER behind this table function"));
        }
        let mut shown = Provenance::clean();
        let mut given = Vec::with_capacity(args.len());
        for arg in args {
            let value = match arg {
                ast::FunctionArg::Named { name: _, arg, operator: _ }
                | ast::FunctionArg::Unnamed(arg) => arg,
                ast::FunctionArg::ExprNamed { .. } => {
                    return Err(unsupported("this form of an argument"));
                }
            };
            let ast::FunctionArgExpr::Expr(value) = value else {
                return Err(unsupported("`*` in a table function"));
            };
            let provenance = self.expression(value, scope)?;
            shown = shown.with(&provenance);
            given.push((value, provenance));
        }
        let Some(columns) = columns else {
            let name = self.function_name(&parts, method.as_deref());
            return self.unknown_rows(name, shown, over, scope);
        };
        // How many elements a bare column holds is shown as COUNT shows it; anything else compares: an expression, a
        // path that is computed, a delimiter.
        let mut varying = given.iter().filter(|(_, value)| value.shape != Shape::Constant);
        match (varying.next(), varying.next()) {
            (Some((input, _)), None)
                if parts.last().is_some_and(|name| name == "FLATTEN")
                    && self.is_path(input, scope)? =>
            {
                shown.shape = Shape::Element;
            }
            _ => self.steer(Place::TableFunction, shown.sources.clone(), Steering::Expression),
        }
        let field =
            |name: &&str| Field { name: Some((*name).to_owned()), provenance: shown.clone() };
        Ok(Rows { fields: Rc::new(columns.iter().map(field).collect()), rest: None })
    }

    /// A function that a policy must allow: nobody knows its columns, and each can show whatever went in.
    fn unknown_rows(
        &mut self,
        name: String,
        mut shown: Provenance,
        over: Option<&ast::WindowType>,
        scope: &Scope<'_>,
    ) -> Result<Rows, Problem> {
        // Which rows come together, and in which order, it sees too.
        if let Some(over) = over {
            shown = shown.with(&self.window(over, scope)?);
        }
        self.flow(shown.sources.clone(), Sink::Function(name.clone()));
        self.functions.insert(name);
        Ok(Rows { fields: Rc::default(), rest: Some(shown) })
    }

    /// `TABLE(GETNEXTVAL(sequence))`.
    fn next_values(&mut self, args: &[ast::FunctionArg]) -> Result<Rows, Problem> {
        let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(sequence))] = args else {
            return Err(unsupported("GETNEXTVAL of anything but one sequence"));
        };
        let written = match sequence {
            ast::Expr::Identifier(name) => std::slice::from_ref(name),
            ast::Expr::CompoundIdentifier(names) => names.as_slice(),
            _ => return Err(unsupported("GETNEXTVAL of anything but one sequence")),
        };
        let parts = written.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        let field = Field { name: Some("NEXTVAL".to_owned()), provenance: self.sequence(&parts)? };
        Ok(Rows { fields: Rc::new(vec![field]), rest: None })
    }

    /// The next value of a sequence: a number that no column is in.
    pub(super) fn sequence(&mut self, parts: &[String]) -> Result<Provenance, Problem> {
        let name = Arc::new(self.qualify(parts)?);
        self.touch(name, Access::Read);
        Ok(Provenance::clean().of(Class::Number(0)))
    }

    /// The rows of an earlier statement of the session, under the sources of its columns.
    fn earlier(&mut self, args: &[ast::FunctionArg]) -> Result<Rows, Problem> {
        let unknown = || {
            Err(unsupported(
                "RESULT_SCAN of anything but the literal query id of a result that this session got from the account",
            ))
        };
        let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Value(id)))] = args
        else {
            return unknown();
        };
        let ast::Value::SingleQuotedString(id) = &id.value else { return unknown() };
        let session = self.session;
        let known = session.results.get(&id.to_ascii_lowercase());
        let Some(earlier) = known.filter(|_| self.inside.is_empty()) else { return unknown() };
        self.touches.extend(earlier.touches.iter().cloned());
        for table in &earlier.tables {
            self.tables.entry(table.name.clone()).or_insert_with(|| Arc::clone(table));
        }
        let mut fields = Vec::with_capacity(earlier.columns.len());
        for column in &earlier.columns {
            let mut provenance = Provenance::clean();
            for source in &column.sources {
                provenance.sources.push(self.known_id(source)?);
            }
            provenance.sources.sort_unstable();
            if column.plain {
                provenance.shape = Shape::Bare;
            }
            fields.push(Field { name: column.name.clone(), provenance });
        }
        Ok(Rows { fields: Rc::new(fields), rest: None })
    }

    /// A bare column, or a path into one.
    fn is_path(&mut self, expression: &ast::Expr, scope: &Scope<'_>) -> Result<bool, Problem> {
        let mut root = expression;
        loop {
            match root {
                ast::Expr::Nested(inner) => root = inner,
                ast::Expr::JsonAccess { value, path } => {
                    let is_constant = path.path.iter().all(|element| match element {
                        ast::JsonPathElem::Dot { .. } => true,
                        ast::JsonPathElem::Bracket { key }
                        | ast::JsonPathElem::ColonBracket { key } => {
                            matches!(key, ast::Expr::Value(_))
                        }
                    });
                    if !is_constant {
                        return Ok(false);
                    }
                    root = value;
                }
                ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => {
                    let provenance = self.expression(root, scope)?;
                    let is_element = provenance.shape == Shape::Element;
                    return Ok(is_element || provenance.is_bare() || provenance.is_clean());
                }
                _ => return Ok(false),
            }
        }
    }
}
