//! `*`, `t.*` and what stands behind them, in Snowflake's order: ILIKE, EXCLUDE, REPLACE, RENAME.

use super::scope::{Field, Scope};
use super::{Resolver, named, parts, stored, unsupported};
use crate::Problem;
use crate::dialect::{OWN, ast};

impl Resolver<'_> {
    /// The columns of `t.*`.
    pub(super) fn qualified_star(
        &mut self,
        qualifier: &[String],
        scope: &Scope<'_>,
    ) -> Result<Vec<Field>, Problem> {
        let mut here = Some(scope);
        while let Some(scope) = here {
            match scope.relation(qualifier) {
                Ok(Some(relation)) => {
                    self.widen(relation.fields.len())?;
                    return Ok(relation.star());
                }
                Ok(None) => here = scope.parent,
                Err(()) => return Err(named("`.*` could mean two relations")),
            }
        }
        Err(named(&format!("{} in `.*` is not in FROM", qualifier.join("."))))
    }

    /// The columns of a star before its options; they can say that it was `t.*`.
    pub(super) fn starred(
        &mut self,
        options: &ast::WildcardAdditionalOptions,
        scope: &Scope<'_>,
    ) -> Result<Vec<Field>, Problem> {
        for name in options.opt_exclude.iter().flat_map(excluded) {
            if let Some(("OF", relation)) = own(name) {
                let relation = relation.into_iter().map(stored).collect::<Result<Vec<_>, _>>()?;
                return self.qualified_star(&relation, scope);
            }
        }
        self.widen(scope.visible.len())?;
        Ok(scope.star())
    }

    /// Applies what stands behind a star.
    pub(super) fn star(
        &mut self,
        mut fields: Vec<Field>,
        options: &ast::WildcardAdditionalOptions,
        scope: &Scope<'_>,
    ) -> Result<Vec<Field>, Problem> {
        let ast::WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        if opt_except.is_some() || opt_alias.is_some() {
            return Err(unsupported("EXCEPT or an alias behind `*`"));
        }
        if let Some(ast::IlikeSelectItem { pattern }) = opt_ilike {
            only_like(&mut fields, pattern, scope)?;
        }
        for name in opt_exclude.iter().flat_map(excluded) {
            match own(name) {
                Some(("ILIKE", pattern)) => {
                    for pattern in pattern {
                        only_like(&mut fields, &pattern.value, scope)?;
                    }
                }
                Some(_) => {}
                None => {
                    let [column] = &parts(name)?[..] else {
                        return Err(named("a qualified name in EXCLUDE; write it behind `t.*`"));
                    };
                    self.look_through(fields.len())?;
                    is_among(&fields, column, scope)?;
                    fields.retain(|field| field.name.as_ref() != Some(column));
                }
            }
        }
        if let Some(ast::ReplaceSelectItem { items }) = opt_replace {
            for item in items {
                let ast::ReplaceSelectElement { expr, column_name, as_keyword: _ } = &**item;
                let column = stored(column_name)?;
                let provenance = self.expression(expr, scope)?;
                self.look_through(fields.len())?;
                is_among(&fields, &column, scope)?;
                for field in fields.iter_mut().filter(|field| field.name.as_ref() == Some(&column))
                {
                    field.provenance = provenance.clone();
                }
            }
        }
        if let Some(rename) = opt_rename {
            let pairs = match rename {
                ast::RenameSelectItem::Single(pair) => std::slice::from_ref(pair),
                ast::RenameSelectItem::Multiple(pairs) => pairs.as_slice(),
            };
            for ast::IdentWithAlias { ident, alias } in pairs {
                let (from, to) = (stored(ident)?, stored(alias)?);
                self.look_through(fields.len())?;
                is_among(&fields, &from, scope)?;
                for field in fields.iter_mut().filter(|field| field.name.as_ref() == Some(&from)) {
                    field.name = Some(to.clone());
                }
            }
        }
        Ok(fields)
    }
}

fn excluded(exclude: &ast::ExcludeSelectItem) -> &[ast::ObjectName] {
    match exclude {
        ast::ExcludeSelectItem::Single(name) => std::slice::from_ref(name),
        ast::ExcludeSelectItem::Multiple(names) => names.as_slice(),
    }
}

/// What the dialect put into EXCLUDE because the parser has no place for it: a word that no text can hold, and what
/// belongs to it.
fn own(name: &ast::ObjectName) -> Option<(&str, Vec<&ast::Ident>)> {
    let mut identifiers = name.0.iter().filter_map(|part| match part {
        ast::ObjectNamePart::Identifier(identifier) => Some(identifier),
        ast::ObjectNamePart::Function(_) => None,
    });
    let first = identifiers.next()?;
    (first.quote_style == Some(OWN)).then(|| (first.value.as_str(), identifiers.collect()))
}

/// ILIKE behind a star.
fn only_like(fields: &mut Vec<Field>, pattern: &str, scope: &Scope<'_>) -> Result<(), Problem> {
    if pattern.contains('\\') || !pattern.is_ascii() {
        return Err(unsupported("an escape or a letter beyond ASCII in the pattern behind `*`"));
    }
    let pattern = pattern.replace("''", "'");
    if !scope.is_open() && fields.iter().any(|field| field.name.is_none()) {
        return Err(named("ILIKE behind `*` with a column that has no name; give it an alias"));
    }
    fields.retain(|field| field.name.as_deref().is_none_or(|name| ilike(name, &pattern)));
    Ok(())
}

/// A column that is named behind a star must be one of it.
fn is_among(fields: &[Field], column: &str, scope: &Scope<'_>) -> Result<(), Problem> {
    if scope.is_open() || fields.iter().any(|field| field.name.as_deref() == Some(column)) {
        return Ok(());
    }
    Err(named(&format!("there is no column {column} in this `*`")))
}

/// `name ILIKE pattern` without escapes.
fn ilike(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    // One row of the usual table at a time: `matches[i]` says whether the pattern so far matches `name[..i]`.
    let mut matches = vec![false; name.len() + 1];
    matches[0] = true;
    for wanted in pattern {
        let mut next = vec![false; name.len() + 1];
        if wanted == '%' {
            let mut seen = false;
            for (index, matched) in matches.iter().enumerate() {
                seen |= *matched;
                next[index] = seen;
            }
        } else {
            for (index, character) in name.iter().enumerate() {
                next[index + 1] = matches[index] && (wanted == '_' || wanted == *character);
            }
        }
        matches = next;
    }
    matches.last().copied().unwrap_or(false)
}
