//! Calls: built-ins that are known to be pure, those that declassify, and all others.

use super::class::Class;
use super::expression::Choice;
use super::provenance::Provenance;
use super::scope::{Field, Found, Scope};
use super::{Resolver, Steering, function_parts, parts, unsupported};
use crate::builtins;
use crate::dialect::ast;
use crate::{Place, Problem, Sink};

/// What the arguments of a call add up to.
struct Arguments {
    all: Provenance,
    /// Every argument is a bare column.
    bare: bool,
    /// Every argument is a bare column, or a constant that says how it is read.
    settled: bool,
    /// Each of them, in order.
    each: Vec<Provenance>,
}

impl Arguments {
    /// All columns of a star go in.
    fn of_star(&mut self, fields: &[Field]) {
        let all = fields.iter();
        let all = all.fold(Provenance::clean(), |all, field| all.with(&field.provenance));
        (self.bare, self.settled) = (false, false);
        self.all = std::mem::replace(&mut self.all, Provenance::constant()).with(&all);
    }
}

impl Resolver<'_> {
    /// Where the value of a call comes from.
    pub(super) fn function(
        &mut self,
        function: &ast::Function,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let ast::Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment: _,
            over,
        } = function;
        if *uses_odbc_syntax || !matches!(parameters, ast::FunctionArguments::None) {
            return Err(unsupported("this form of a call"));
        }
        let (written, method) = function_parts(name)?;
        let simple = match (written.as_slice(), &method) {
            ([one], None) => Some(one.as_str()),
            _ => None,
        };
        if let (Some("IDENTIFIER"), ast::FunctionArguments::List(list), None) = (simple, args, over)
        {
            return self.column(&super::literal_name(&list.args)?, scope);
        }
        let of_pattern = |name: &str| scope.matching && super::matching::is_function(name);
        let builtin = simple.and_then(|name| match builtins::find(name) {
            None if of_pattern(name) => Some(builtins::Builtin { aggregate: true, raises: false }),
            found => found,
        });
        let arguments = self.arguments(simple.unwrap_or_default(), args, scope)?;
        let mut result = arguments.all.clone();
        let mut class = Class::Other;
        match (simple, builtin) {
            (Some(simple), Some(builtin)) => {
                let raising = builtin.raises
                    && !(matches!(simple, "TO_CHAR" | "TO_VARCHAR") || simple.starts_with("TRY_"));
                if raising && !arguments.bare && !arguments.settled {
                    self.raise_over(&arguments.all);
                }
                result.aggregate |= builtin.aggregate && over.is_none();
                self.take(simple, &arguments);
                class = self.made(simple, &arguments);
                if declassifies(simple) && arguments.bare && !arguments.each.is_empty() {
                    result.sources.clear();
                }
            }
            _ => {
                let name = self.function_name(&written, method.as_deref());
                self.flow(arguments.all.sources.clone(), Sink::Function(name.clone()));
                self.functions.insert(name);
            }
        }
        if result.shape != super::provenance::Shape::Constant
            || builtin.is_none_or(|builtin| builtin.aggregate)
        {
            result = result.mixed_rows();
        }
        if !within_group.is_empty() {
            let order = self.order_keys(within_group, scope)?;
            self.steer(Place::Order, order.sources.clone(), Steering::Expression);
            result = result.with(&order);
        }
        if let Some(filter) = filter {
            result = result.with(&self.expression(filter, scope)?);
        }
        if let Some(over) = over {
            result = result.with(&self.window(over, scope)?);
        }
        Ok(result.of(class))
    }

    /// An argument of the wrong kind is converted, and whether that fails tells about it.
    fn take(&mut self, name: &str, arguments: &Arguments) {
        for (position, argument) in arguments.each.iter().enumerate() {
            if builtins::converts(name, position) && argument.is_derived() {
                let fits = match argument.class {
                    Class::Text | Class::Other => false,
                    Class::Null | Class::Number(_) | Class::Time | Class::Truth => true,
                };
                if !fits || builtins::takes_text_first(name) {
                    self.raise_over(argument);
                }
            }
        }
        if builtins::moves_date(name) {
            let amounts =
                || arguments.each.iter().filter(|one| matches!(one.class, Class::Number(_)));
            if amounts().any(|amount| amount.is_derived() || amount.class.is_far()) {
                let columns = arguments.all.sources.clone();
                self.steer(Place::Error, columns, Steering::Expression);
            }
        }
        // Two equal keys are an error, so a key of masked values compares them.
        if matches!(name, "OBJECT_CONSTRUCT" | "OBJECT_CONSTRUCT_KEEP_NULL" | "OBJECT_INSERT") {
            let first = usize::from(name == "OBJECT_INSERT");
            for key in arguments.each.iter().skip(first).step_by(2) {
                self.steer(Place::Error, key.sources.clone(), Steering::Expression);
            }
        }
    }

    /// The kind of value that a built-in makes.
    fn made(&mut self, name: &str, arguments: &Arguments) -> Class {
        let each = &arguments.each;
        // What a conditional function chooses from; what decides is not among it.
        let values: Vec<&Provenance> = match name {
            "IFF" | "NVL2" => each.iter().skip(1).collect(),
            "DECODE" => {
                let pairs = each.get(1..).unwrap_or_default().chunks(2);
                pairs.map(|pair| pair.last()).collect::<Option<_>>().unwrap_or_default()
            }
            _ if builtins::makes(name) == builtins::Makes::Argument => each.iter().collect(),
            _ => Vec::new(),
        };
        if !values.is_empty() {
            // The offset of LAG, the position of NTH_VALUE and their like are no values.
            let rows =
                matches!(name, "LAG" | "LEAD" | "NTH_VALUE" | "FIRST" | "LAST" | "PREV" | "NEXT");
            let values = if rows { &values[..1] } else { &values[..] };
            let mut choice = Choice::new();
            for value in values {
                choice.add(value);
            }
            if let ("IFF", Some(condition)) = (name, each.first()) {
                self.convert(condition, Class::Truth);
                choice.decide(condition);
            }
            if let ("DECODE", Some(operand)) = (name, each.first()) {
                choice.decide(operand);
                for searched in each.get(1..).unwrap_or_default().chunks_exact(2) {
                    self.coerce(operand, &searched[0]);
                    choice.decide(&searched[0]);
                }
            }
            return self.chosen(choice).class;
        }
        match builtins::makes(name) {
            builtins::Makes::Text => Class::Text,
            builtins::Makes::Number => {
                let digits = each.iter().fold(Class::Null, |all, one| all.or(one.class));
                digits.computed(Class::Null, false)
            }
            builtins::Makes::Time => Class::Time,
            builtins::Makes::Truth => Class::Truth,
            builtins::Makes::Argument | builtins::Makes::Anything => Class::Other,
        }
    }

    /// CALL of a procedure: its name is never that of a built-in function.
    pub(crate) fn procedure(
        &mut self,
        function: &ast::Function,
        scope: &Scope<'_>,
    ) -> Result<(), Problem> {
        let ast::Function {
            name,
            uses_odbc_syntax: false,
            parameters: ast::FunctionArguments::None,
            args,
            within_group,
            filter: None,
            null_treatment: None,
            over: None,
        } = function
        else {
            return Err(unsupported("this form of a CALL"));
        };
        if !within_group.is_empty() {
            return Err(unsupported("this form of a CALL"));
        }
        let arguments = self.arguments("", args, scope)?;
        let name = self.function_name(&parts(name)?, None);
        self.flow(arguments.all.sources, Sink::Function(name.clone()));
        self.functions.insert(name);
        Ok(())
    }

    fn arguments(
        &mut self,
        name: &str,
        args: &ast::FunctionArguments,
        scope: &Scope<'_>,
    ) -> Result<Arguments, Problem> {
        let list = match args {
            ast::FunctionArguments::None => {
                return Ok(Arguments {
                    all: Provenance::constant(),
                    bare: false,
                    settled: false,
                    each: Vec::new(),
                });
            }
            ast::FunctionArguments::Subquery(query) => {
                let fields = self.query(query, scope.ctes, Some(scope))?;
                let all = fields
                    .iter()
                    .fold(Provenance::clean(), |all, field| all.with(&field.provenance));
                let each = fields.into_iter().map(|field| field.provenance).collect();
                return Ok(Arguments { all, bare: false, settled: false, each });
            }
            ast::FunctionArguments::List(list) => list,
        };
        let ast::FunctionArgumentList { duplicate_treatment: _, args, clauses } = list;
        let mut found = Arguments {
            all: Provenance::constant(),
            bare: true,
            settled: builtins::is_settled(name),
            each: Vec::new(),
        };
        let mut lambdas = Vec::new();
        for (position, arg) in args.iter().enumerate() {
            let value = match arg {
                // FILTER (WHERE ...): which rows are counted shows in the result.
                ast::FunctionArg::Named {
                    name: clause,
                    arg: ast::FunctionArgExpr::Expr(condition),
                    operator: _,
                } if clause.quote_style == Some(crate::dialect::OWN) => {
                    let condition = self.expression(condition, scope)?;
                    self.convert(&condition, Class::Truth);
                    (found.bare, found.settled) = (false, false);
                    found.all = found.all.with(&condition);
                    continue;
                }
                ast::FunctionArg::Named { name: _, arg, operator: _ }
                | ast::FunctionArg::Unnamed(arg) => arg,
                ast::FunctionArg::ExprNamed { name: _, arg: _, operator: _ } => {
                    return Err(unsupported("this form of an argument"));
                }
            };
            match value {
                ast::FunctionArgExpr::Expr(ast::Expr::Lambda(lambda)) => lambdas.push(lambda),
                // A word like `d` is a part of a date, unless there is a column of that name: then it may be either.
                ast::FunctionArgExpr::Expr(ast::Expr::Identifier(word))
                    if builtins::takes_word(name, position)
                        && word.quote_style.is_none()
                        && builtins::is_date_part(&word.value.to_ascii_uppercase())
                        && matches!(
                            scope.column(&word.value.to_ascii_uppercase()),
                            Found::Nothing
                        ) => {}
                ast::FunctionArgExpr::Expr(expression) => {
                    let provenance = self.expression(expression, scope)?;
                    found.bare &= provenance.is_bare();
                    found.settled &= provenance.is_bare()
                        || provenance.shape == super::provenance::Shape::Constant
                            && says_how(name, expression);
                    found.all = found.all.with(&provenance);
                    found.each.push(provenance);
                }
                // COUNT(*) counts rows; any other call sees every column.
                ast::FunctionArgExpr::Wildcard if name == "COUNT" => found.bare = false,
                ast::FunctionArgExpr::Wildcard => {
                    self.widen(scope.visible.len())?;
                    found.of_star(&scope.star());
                }
                ast::FunctionArgExpr::WildcardWithOptions(options) => {
                    let fields = self.starred(options, scope)?;
                    found.of_star(&self.star(fields, options, scope)?);
                }
                ast::FunctionArgExpr::QualifiedWildcard(relation) => {
                    // COUNT(t.*) counts the rows without a NULL in any column: it tests expressions over all.
                    let relation = parts(relation)?;
                    found.of_star(&self.qualified_star(&relation, scope)?);
                }
            }
        }
        for lambda in lambdas {
            (found.bare, found.settled) = (false, false);
            let body = self.lambda(lambda, &found.all, scope)?;
            found.all = found.all.with(&body);
        }
        for clause in clauses {
            match clause {
                ast::FunctionArgumentClause::IgnoreOrRespectNulls(_)
                | ast::FunctionArgumentClause::Separator(_) => {}
                ast::FunctionArgumentClause::OrderBy(keys) => {
                    let order = self.order_keys(keys, scope)?;
                    self.steer(Place::Order, order.sources.clone(), Steering::Expression);
                    (found.bare, found.settled) = (false, false);
                    found.all = found.all.with(&order);
                }
                ast::FunctionArgumentClause::Where(_)
                | ast::FunctionArgumentClause::Limit(_)
                | ast::FunctionArgumentClause::OnOverflow(_)
                | ast::FunctionArgumentClause::Having(_)
                | ast::FunctionArgumentClause::JsonNullClause(_)
                | ast::FunctionArgumentClause::JsonReturningClause(_) => {
                    return Err(unsupported("this clause in a call"));
                }
            }
        }
        Ok(found)
    }

    /// The parameters of a lambda are elements of the other arguments.
    fn lambda(
        &mut self,
        lambda: &ast::LambdaFunction,
        elements: &Provenance,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let ast::LambdaFunction { params, body, syntax: _ } = lambda;
        let params = match params {
            ast::OneOrManyWithParens::One(one) => std::slice::from_ref(one),
            ast::OneOrManyWithParens::Many(many) => many.as_slice(),
        };
        let mut inner = Scope::new(scope.ctes, Some(scope));
        for ast::LambdaFunctionParameter { name, data_type: _ } in params {
            inner.aliases.push((super::stored(name)?, elements.clone().mixed_rows()));
        }
        self.expression(body, &inner)
    }

    /// How a function that is not a pure built-in is called in policies and records.
    pub(super) fn function_name(&self, written: &[String], method: Option<&str>) -> String {
        let name = match written {
            [one] if builtins::is_refused(one) => return one.clone(),
            _ => self.qualify(written).map_or_else(|_| written.join("."), |name| name.to_string()),
        };
        match method {
            Some(method) => format!("{name}!{method}"),
            None => name,
        }
    }
}

/// Whether a constant only says how the value beside it is read.
fn says_how(name: &str, constant: &ast::Expr) -> bool {
    let ast::Expr::Value(value) = constant else { return false };
    match &value.value {
        ast::Value::Number(..) => true,
        ast::Value::SingleQuotedString(text) => builtins::is_format(name, text),
        _ => false,
    }
}

/// Functions that show how many, not what.
fn declassifies(name: &str) -> bool {
    matches!(name, "COUNT" | "APPROX_COUNT_DISTINCT" | "GROUPING")
}
