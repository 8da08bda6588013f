//! Expressions: the union of what can be seen in their parts.

use super::class::Class;
use super::provenance::Provenance;
use super::scope::{Found, Scope};
use super::{Resolver, named, stored, unsupported};
use crate::dialect::ast;
use crate::{Place, Problem};

impl Resolver<'_> {
    /// Where the value of an expression comes from.
    pub(crate) fn expression(
        &mut self,
        expression: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        self.deeper(|this| this.expression_inner(expression, scope))
    }

    fn expression_inner(
        &mut self,
        expression: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        match expression {
            ast::Expr::Identifier(identifier) => self.identifier(identifier, scope),
            ast::Expr::CompoundIdentifier(parts) => self.compound(parts, scope),
            ast::Expr::Nested(inner) => self.expression(inner, scope),
            ast::Expr::Value(value) => self.value(&value.value, scope),
            ast::Expr::TypedString(_) => Ok(Provenance::constant().of(Class::Time)),
            ast::Expr::Interval(ast::Interval { value, .. }) => {
                Ok(self.expression(value, scope)?.mixed().of(Class::Time))
            }

            // A NULL test of a bare column is free; of an expression it compares.
            ast::Expr::IsNull(inner) | ast::Expr::IsNotNull(inner) => {
                let provenance = self.expression(inner, scope)?;
                let test =
                    if provenance.is_bare() { Provenance::clean() } else { provenance.mixed() };
                Ok(test.of(Class::Truth))
            }
            ast::Expr::IsTrue(inner)
            | ast::Expr::IsNotTrue(inner)
            | ast::Expr::IsFalse(inner)
            | ast::Expr::IsNotFalse(inner)
            | ast::Expr::IsUnknown(inner)
            | ast::Expr::IsNotUnknown(inner) => {
                let provenance = self.expression(inner, scope)?;
                self.convert(&provenance, Class::Truth);
                Ok(provenance.mixed().of(Class::Truth))
            }
            ast::Expr::OuterJoin(inner)
            | ast::Expr::Prior(inner)
            | ast::Expr::Collate { expr: inner, collation: _ }
            | ast::Expr::Named { expr: inner, name: _ } => {
                Ok(self.expression(inner, scope)?.mixed())
            }
            ast::Expr::Extract { field: _, syntax: _, expr: inner } => {
                let provenance = self.expression(inner, scope)?;
                self.convert(&provenance, Class::Time);
                Ok(provenance.mixed().of(Class::Number(0)))
            }
            ast::Expr::Ceil { expr: inner, field: _ }
            | ast::Expr::Floor { expr: inner, field: _ } => {
                let provenance = self.expression(inner, scope)?;
                self.compute(&provenance);
                let class = provenance.class.computed(Class::Null, false);
                Ok(provenance.mixed().of(class))
            }
            ast::Expr::Prefixed { prefix, value } => {
                if stored(prefix)? == "CONNECT_BY_ROOT" {
                    Ok(self.expression(value, scope)?.mixed())
                } else {
                    Err(unsupported("a prefix before a value"))
                }
            }
            ast::Expr::UnaryOp { op, expr } => match op {
                ast::UnaryOperator::Plus | ast::UnaryOperator::Minus => {
                    let provenance = self.expression(expr, scope)?;
                    self.compute(&provenance);
                    let class = provenance.class.computed(Class::Null, false);
                    Ok(provenance.mixed().of(class))
                }
                ast::UnaryOperator::Not => {
                    let provenance = self.expression(expr, scope)?;
                    self.convert(&provenance, Class::Truth);
                    Ok(provenance.mixed().of(Class::Truth))
                }
                ast::UnaryOperator::AtDashAt
                | ast::UnaryOperator::BangNot
                | ast::UnaryOperator::BitwiseNot
                | ast::UnaryOperator::DoubleAt
                | ast::UnaryOperator::Hash
                | ast::UnaryOperator::PGAbs
                | ast::UnaryOperator::PGCubeRoot
                | ast::UnaryOperator::PGPostfixFactorial
                | ast::UnaryOperator::PGPrefixFactorial
                | ast::UnaryOperator::PGSquareRoot
                | ast::UnaryOperator::QuestionDash
                | ast::UnaryOperator::QuestionPipe => Err(unsupported("this operator")),
            },
            ast::Expr::BinaryOp { left, op, right } => {
                if !is_operator(op) {
                    return Err(unsupported("this operator"));
                }
                let one = self.expression(left, scope)?;
                let two = self.expression(right, scope)?;
                let class = self.operate(operation(op, right), &one, &two);
                Ok(one.with(&two).of(class))
            }
            ast::Expr::IsDistinctFrom(one, two) | ast::Expr::IsNotDistinctFrom(one, two) => {
                self.comparison(one, [&**two], scope)
            }
            ast::Expr::Position { expr: one, r#in: two } => {
                Ok(self.all([&**one, &**two], scope)?.of(Class::Number(0)))
            }
            ast::Expr::AtTimeZone { timestamp: one, time_zone: two } => {
                self.all([&**one, &**two], scope)
            }
            ast::Expr::InList { expr, list, negated: _ } => self.comparison(expr, list, scope),
            ast::Expr::InSubquery { expr, subquery, negated: _ } => {
                let one = self.expression(expr, scope)?;
                let fields = self.query(subquery, scope.ctes, Some(scope))?;
                for field in &fields {
                    self.coerce(&one, &field.provenance);
                }
                let all = fields.iter().fold(one.mixed(), |all, field| all.with(&field.provenance));
                Ok(all.of(Class::Truth))
            }
            ast::Expr::Between { expr, negated: _, low, high } => {
                self.comparison(expr, [&**low, &**high], scope)
            }
            ast::Expr::Like { negated: _, any: _, expr, pattern, escape_char }
            | ast::Expr::ILike { negated: _, any: _, expr, pattern, escape_char }
            | ast::Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
                let one = self.expression(expr, scope)?;
                let mut all = one.with(&self.patterns(pattern, scope)?);
                if let Some(escape) = escape_char {
                    all = all.with(&self.expression(escape, scope)?);
                }
                Ok(all.of(Class::Truth))
            }
            ast::Expr::RLike { negated: _, expr, pattern, regexp: _ } => {
                let (one, two) = (self.expression(expr, scope)?, self.expression(pattern, scope)?);
                // Not every text is a pattern.
                self.raise_over(&two);
                Ok(one.with(&two).of(Class::Truth))
            }
            ast::Expr::AnyOp { left, compare_op: _, right, is_some: _ }
            | ast::Expr::AllOp { left, compare_op: _, right } => {
                self.all([&**left, &**right], scope)
            }
            ast::Expr::Cast { kind, expr, data_type, format: _ } => {
                let provenance = self.expression(expr, scope)?;
                let class = cast_class(data_type);
                let raises = match kind {
                    ast::CastKind::Cast | ast::CastKind::DoubleColon => {
                        !matches!(class, Class::Text) && !is_variant(data_type)
                    }
                    ast::CastKind::TryCast => false,
                    ast::CastKind::SafeCast => return Err(unsupported("SAFE_CAST")),
                };
                if raises {
                    self.raise_over(&provenance);
                }
                Ok(provenance.mixed().of(class))
            }
            ast::Expr::Substring {
                expr,
                substring_from,
                substring_for,
                special: _,
                shorthand: _,
            } => {
                let mut all = self.expression(expr, scope)?;
                for part in substring_from.as_deref().into_iter().chain(substring_for.as_deref()) {
                    let part = self.expression(part, scope)?;
                    self.compute(&part);
                    all = all.with(&part);
                }
                Ok(all.mixed().of(Class::Text))
            }
            ast::Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                let more = trim_what.as_deref().into_iter().chain(trim_characters.iter().flatten());
                Ok(self.all(std::iter::once(&**expr).chain(more), scope)?.of(Class::Text))
            }
            ast::Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                let mut choice = Choice::new();
                let operand = match operand {
                    Some(operand) => Some(self.expression(operand, scope)?),
                    None => None,
                };
                for ast::CaseWhen { condition, result } in conditions {
                    let condition = self.expression(condition, scope)?;
                    match &operand {
                        Some(operand) => self.coerce(operand, &condition),
                        None => self.convert(&condition, Class::Truth),
                    }
                    choice.decide(&condition);
                    choice.add(&self.expression(result, scope)?);
                }
                if let Some(operand) = &operand {
                    choice.decide(operand);
                }
                if let Some(result) = else_result {
                    choice.add(&self.expression(result, scope)?);
                }
                Ok(self.chosen(choice))
            }
            ast::Expr::Function(function) => self.function(function, scope),
            ast::Expr::Exists { subquery, negated: _ } => {
                // Which rows exist is steered by the predicates inside, and they are noted there.
                let fields = self.query(subquery, scope.ctes, Some(scope))?;
                Ok(Provenance {
                    aggregate: fields.iter().any(|field| field.provenance.aggregate),
                    class: Class::Truth,
                    ..Provenance::clean()
                })
            }
            ast::Expr::Subquery(query) => {
                let fields = self.query(query, scope.ctes, Some(scope))?;
                Ok(match fields.as_slice() {
                    [field] => {
                        Provenance { aggregate: false, ..field.provenance.clone() }.mixed_rows()
                    }
                    several => several
                        .iter()
                        .fold(Provenance::clean(), |all, field| all.with(&field.provenance)),
                })
            }
            ast::Expr::JsonAccess { value, path } => {
                let mut all = self.expression(value, scope)?.mixed();
                for element in &path.path {
                    match element {
                        ast::JsonPathElem::Dot { key: _, quoted: _ } => {}
                        ast::JsonPathElem::Bracket { key }
                        | ast::JsonPathElem::ColonBracket { key } => {
                            all = all.with(&self.expression(key, scope)?);
                        }
                    }
                }
                Ok(all)
            }
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                let mut all = self.expression(root, scope)?.mixed();
                // Of a call, a bind or a literal nothing is taken by a dot.
                if let Some(ast::AccessExpr::Dot(_)) = access_chain.first() {
                    return Err(unsupported("a dot behind an expression; write `:field`"));
                }
                for access in access_chain {
                    match access {
                        ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                            all = all.with(&self.expression(index, scope)?);
                        }
                        ast::AccessExpr::Dot(ast::Expr::Identifier(_)) => {}
                        ast::AccessExpr::Dot(_)
                        | ast::AccessExpr::Subscript(ast::Subscript::Slice { .. }) => {
                            return Err(unsupported("this form of access to a field"));
                        }
                    }
                }
                Ok(all)
            }
            ast::Expr::Tuple(items) => self.all(items, scope),
            ast::Expr::Array(ast::Array { elem, named: _ }) => self.all(elem, scope),
            ast::Expr::Dictionary(fields) => self
                .all(fields.iter().map(|ast::DictionaryField { key: _, value }| &**value), scope),
            ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) => {
                Err(unsupported("GROUPING SETS, CUBE or ROLLUP outside of GROUP BY"))
            }
            ast::Expr::Lambda(_) => Err(unsupported("a lambda outside of a function's arguments")),
            ast::Expr::Wildcard(_) | ast::Expr::QualifiedWildcard(_, _) => {
                Err(unsupported("`*` in this place"))
            }
            ast::Expr::IsJson { .. }
            | ast::Expr::IsNormalized { .. }
            | ast::Expr::InUnnest { .. }
            | ast::Expr::Convert { .. }
            | ast::Expr::Overlay { .. }
            | ast::Expr::Struct { .. }
            | ast::Expr::Map(_)
            | ast::Expr::MatchAgainst { .. }
            | ast::Expr::MemberOf(_) => Err(unsupported("this form of an expression")),
        }
    }

    /// The union of several expressions.
    pub(super) fn all<'e>(
        &mut self,
        parts: impl IntoIterator<Item = &'e ast::Expr>,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let mut all = Provenance::constant();
        for part in parts {
            all = all.with(&self.expression(part, scope)?);
        }
        Ok(all)
    }

    /// A value compared with others.
    fn comparison<'e>(
        &mut self,
        value: &ast::Expr,
        others: impl IntoIterator<Item = &'e ast::Expr>,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let one = self.expression(value, scope)?;
        let mut all = one.clone().mixed();
        for other in others {
            let other = self.expression(other, scope)?;
            self.coerce(&one, &other);
            all = all.with(&other);
        }
        Ok(all.of(Class::Truth))
    }

    /// The pattern of LIKE; the parser reads `ALL (...)`, a reserved word, as a call.
    pub(super) fn patterns(
        &mut self,
        pattern: &ast::Expr,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        if let ast::Expr::Function(ast::Function {
            name: ast::ObjectName(name),
            args: ast::FunctionArguments::List(list),
            over: None,
            filter: None,
            ..
        }) = pattern
            && let [ast::ObjectNamePart::Identifier(word)] = name.as_slice()
            && word.quote_style.is_none()
            && word.value.eq_ignore_ascii_case("ALL")
            && list.clauses.is_empty()
        {
            let mut all = Provenance::constant();
            for arg in &list.args {
                let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(one)) = arg else {
                    return Err(unsupported("this form of LIKE ALL"));
                };
                all = all.with(&self.expression(one, scope)?);
            }
            return Ok(all);
        }
        self.expression(pattern, scope)
    }

    /// What an expression chose: where the values are of several kinds, one is converted, or fails to be.
    pub(super) fn chosen(&mut self, choice: Choice) -> Provenance {
        let Choice { all, class, differs } = choice;
        if differs {
            self.raise_over(&all);
        }
        all.mixed().of(if differs { Class::Other } else { class })
    }

    fn value(&mut self, value: &ast::Value, scope: &Scope<'_>) -> Result<Provenance, Problem> {
        match value {
            ast::Value::Number(digits, _) => {
                Ok(Provenance::constant().of(Class::of_digits(digits)))
            }
            ast::Value::SingleQuotedString(_) | ast::Value::DollarQuotedString(_) => {
                Ok(Provenance::constant().of(Class::Text))
            }
            ast::Value::HexStringLiteral(_) => Ok(Provenance::constant().of(Class::Other)),
            ast::Value::Boolean(_) => Ok(Provenance::constant().of(Class::Truth)),
            ast::Value::Null => Ok(Provenance::constant()),
            ast::Value::Placeholder(name) => self.placeholder(name, scope),
            ast::Value::TripleSingleQuotedString(_)
            | ast::Value::TripleDoubleQuotedString(_)
            | ast::Value::EscapedStringLiteral(_)
            | ast::Value::UnicodeStringLiteral(_)
            | ast::Value::SingleQuotedByteStringLiteral(_)
            | ast::Value::DoubleQuotedByteStringLiteral(_)
            | ast::Value::TripleSingleQuotedByteStringLiteral(_)
            | ast::Value::TripleDoubleQuotedByteStringLiteral(_)
            | ast::Value::SingleQuotedRawStringLiteral(_)
            | ast::Value::DoubleQuotedRawStringLiteral(_)
            | ast::Value::TripleSingleQuotedRawStringLiteral(_)
            | ast::Value::TripleDoubleQuotedRawStringLiteral(_)
            | ast::Value::NationalStringLiteral(_)
            | ast::Value::QuoteDelimitedStringLiteral(_)
            | ast::Value::NationalQuoteDelimitedStringLiteral(_)
            | ast::Value::DoubleQuotedString(_) => Err(unsupported("this form of a literal")),
        }
    }

    /// `?` and `:1` are binds: constants. `$1` is a column by position, `$name` a session variable.
    fn placeholder(&mut self, name: &str, scope: &Scope<'_>) -> Result<Provenance, Problem> {
        if name == "?" {
            return Ok(Provenance::constant().of(Class::Other));
        }
        if let Some(bind) = name.strip_prefix(':') {
            return if !bind.is_empty() && bind.bytes().all(|byte| byte.is_ascii_digit()) {
                Ok(Provenance::constant().of(Class::Other))
            } else {
                Err(unsupported("a scripting variable"))
            };
        }
        match name.strip_prefix('$').and_then(|position| position.parse::<usize>().ok()) {
            // Snowflake does not say how the columns of several tables are counted.
            Some(_) if scope.relations.len() > 1 => {
                Err(named(&format!("{name} could be of two tables; qualify it")))
            }
            Some(position) => position
                .checked_sub(1)
                .and_then(|index| scope.visible.get(index))
                .map(|visible| visible.provenance.clone())
                .ok_or_else(|| named(&format!("there is no column {name} in FROM"))),
            None => self.variable(crate::name::fold(name.trim_start_matches('$'))),
        }
    }

    fn identifier(
        &mut self,
        identifier: &ast::Ident,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let name = stored(identifier)?;
        if identifier.quote_style.is_none() {
            // The parser reads `PRIOR x` in a SELECT list as a column with an alias.
            if matches!(name.as_str(), "PRIOR" | "CONNECT_BY_ROOT") {
                return Err(unsupported("PRIOR or CONNECT_BY_ROOT in this place"));
            }
            let is_pseudo = is_clock(&name)
                || (scope.hierarchical
                    && matches!(
                        name.as_str(),
                        "LEVEL" | "CONNECT_BY_ISLEAF" | "CONNECT_BY_ISCYCLE"
                    ));
            if is_pseudo && matches!(scope.column(&name), Found::Nothing) {
                return Ok(Provenance::clean());
            }
        }
        self.column(&[name], scope)
    }

    fn compound(
        &mut self,
        written: &[ast::Ident],
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let Some((last, qualifier)) = written.split_last() else {
            return Err(named("an empty name"));
        };
        let mut parts = Vec::with_capacity(qualifier.len());
        for part in qualifier {
            parts.push(stored(part)?);
        }
        if let Some(position) = last.value.strip_prefix('$').filter(|_| last.quote_style.is_none())
        {
            let index = position.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
            return match (scope.relation(&parts), index) {
                (Ok(Some(relation)), Some(index)) if index < relation.fields.len() => {
                    Ok(relation.fields[index].provenance.clone())
                }
                _ => Err(named("an unknown column by position")),
            };
        }
        parts.push(stored(last)?);
        self.column(&parts, scope)
    }

    /// A column by its stored parts.
    pub(super) fn column(
        &mut self,
        parts: &[String],
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let Some((name, qualifier)) = parts.split_last() else {
            return Err(named("an empty name"));
        };
        self.look_through(scope.len())?;
        let found = match qualifier {
            [] => scope.column(name),
            _ => scope.qualified(qualifier, name),
        };
        match found {
            Found::One(provenance) => Ok(provenance),
            Found::Ambiguous => {
                Err(named(&format!("{} is ambiguous; qualify it", parts.join("."))))
            }
            Found::Nothing if name == "NEXTVAL" && self.is_sequence(qualifier, scope) => {
                self.sequence(qualifier)
            }
            Found::Nothing => {
                if is_metadata(name) || scope.is_open() || self.is_missing() {
                    return Ok(Provenance::clean());
                }
                Err(named(&format!("there is no column {} in this query", parts.join("."))))
            }
        }
    }

    /// Whether what stands before `.NEXTVAL` can only be a sequence: no relation is named like that.
    fn is_sequence(&self, qualifier: &[String], scope: &Scope<'_>) -> bool {
        let mut here = Some(scope);
        while let Some(scope) = here {
            if !matches!(scope.relation(qualifier), Ok(None)) {
                return false;
            }
            here = scope.parent;
        }
        !qualifier.is_empty()
    }

    /// The order of a window or aggregate.
    pub(super) fn order_keys(
        &mut self,
        keys: &[ast::OrderByExpr],
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let mut all = Provenance::constant();
        for ast::OrderByExpr { expr, options: _, with_fill } in keys {
            if with_fill.is_some() {
                return Err(unsupported("WITH FILL"));
            }
            all = all.with(&self.expression(expr, scope)?);
        }
        Ok(all)
    }

    /// OVER (...): its order is seen in the result, a bare PARTITION BY only as frequencies.
    pub(super) fn window(
        &mut self,
        window: &ast::WindowType,
        scope: &Scope<'_>,
    ) -> Result<Provenance, Problem> {
        let ast::WindowType::WindowSpec(ast::WindowSpec {
            window_name: None,
            partition_by,
            order_by,
            window_frame,
        }) = window
        else {
            return Err(unsupported("a named window"));
        };
        for key in partition_by {
            let provenance = self.expression(key, scope)?;
            if !provenance.is_bare() {
                self.steer(Place::Window, provenance.sources, super::Steering::Expression);
            }
        }
        let order = self.order_keys(order_by, scope)?;
        if let Some(ast::WindowFrame { units, start_bound, end_bound }) = window_frame {
            match units {
                ast::WindowFrameUnits::Range => {
                    let is_value = |bound: &ast::WindowFrameBound| {
                        matches!(
                            bound,
                            ast::WindowFrameBound::Preceding(Some(_))
                                | ast::WindowFrameBound::Following(Some(_))
                        )
                    };
                    if is_value(start_bound) || end_bound.as_ref().is_some_and(is_value) {
                        self.steer(
                            Place::Window,
                            order.sources.clone(),
                            super::Steering::Expression,
                        );
                    }
                }
                ast::WindowFrameUnits::Rows => {}
                ast::WindowFrameUnits::Groups => return Err(unsupported("GROUPS in a window")),
            }
            for bound in std::iter::once(start_bound).chain(end_bound) {
                match bound {
                    ast::WindowFrameBound::CurrentRow
                    | ast::WindowFrameBound::Preceding(None)
                    | ast::WindowFrameBound::Following(None) => {}
                    ast::WindowFrameBound::Preceding(Some(value))
                    | ast::WindowFrameBound::Following(Some(value)) => {
                        let provenance = self.expression(value, scope)?;
                        self.steer(Place::Window, provenance.sources, super::Steering::Expression);
                    }
                }
            }
        }
        Ok(order)
    }
}

/// The values that an expression chooses from, and what decides.
pub(super) struct Choice {
    all: Provenance,
    class: Class,
    /// One of the values must be converted to the kind of another.
    differs: bool,
}

impl Choice {
    pub(super) fn new() -> Self {
        Self { all: Provenance::constant(), class: Class::Null, differs: false }
    }

    /// One more that decides.
    pub(super) fn decide(&mut self, condition: &Provenance) {
        self.all = std::mem::replace(&mut self.all, Provenance::constant()).with(condition);
    }

    /// One more value that can be chosen.
    pub(super) fn add(&mut self, value: &Provenance) {
        self.decide(value);
        self.differs |= self.class.differs(value.class);
        self.class = self.class.or(value.class);
    }
}

/// Operators that Snowflake has, and that compute from their two sides alone.
pub(super) fn is_operator(operator: &ast::BinaryOperator) -> bool {
    matches!(
        operator,
        ast::BinaryOperator::Plus
            | ast::BinaryOperator::Minus
            | ast::BinaryOperator::Multiply
            | ast::BinaryOperator::Divide
            | ast::BinaryOperator::Modulo
            | ast::BinaryOperator::StringConcat
            | ast::BinaryOperator::Gt
            | ast::BinaryOperator::Lt
            | ast::BinaryOperator::GtEq
            | ast::BinaryOperator::LtEq
            | ast::BinaryOperator::Eq
            | ast::BinaryOperator::NotEq
            | ast::BinaryOperator::And
            | ast::BinaryOperator::Or
            | ast::BinaryOperator::Regexp
    )
}

/// What a cast makes.
fn cast_class(data_type: &ast::DataType) -> Class {
    match data_type {
        ast::DataType::Varchar(_)
        | ast::DataType::Text
        | ast::DataType::String(_)
        | ast::DataType::Char(_)
        | ast::DataType::Character(_)
        | ast::DataType::CharacterVarying(_)
        | ast::DataType::CharVarying(_)
        | ast::DataType::Nvarchar(_) => Class::Text,
        ast::DataType::Int(_)
        | ast::DataType::Integer(_)
        | ast::DataType::BigInt(_)
        | ast::DataType::SmallInt(_)
        | ast::DataType::TinyInt(_)
        | ast::DataType::Numeric(_)
        | ast::DataType::Decimal(_)
        | ast::DataType::Float(_)
        | ast::DataType::Double(_)
        | ast::DataType::DoublePrecision
        | ast::DataType::Real => Class::Number(0),
        ast::DataType::Date
        | ast::DataType::Time(_, _)
        | ast::DataType::Timestamp(_, _)
        | ast::DataType::Datetime(_) => Class::Time,
        ast::DataType::Boolean => Class::Truth,
        ast::DataType::Custom(name, _) => super::parts(name)
            .ok()
            .and_then(|parts| parts.last().map(|word| Class::of_column(word)))
            .unwrap_or(Class::Other),
        _ => Class::Other,
    }
}

/// Anything can be put into a VARIANT.
fn is_variant(data_type: &ast::DataType) -> bool {
    matches!(data_type, ast::DataType::Custom(name, _) if super::parts(name).is_ok_and(|parts| parts == ["VARIANT"]))
}

/// The operation as far as it can fail: a division by a literal other than zero fails only where a product would.
fn operation<'o>(op: &'o ast::BinaryOperator, right: &ast::Expr) -> &'o ast::BinaryOperator {
    let divides = matches!(op, ast::BinaryOperator::Divide | ast::BinaryOperator::Modulo);
    if divides && is_number_but_zero(right) { &ast::BinaryOperator::Multiply } else { op }
}

fn is_number_but_zero(expression: &ast::Expr) -> bool {
    match expression {
        ast::Expr::Nested(inner) => is_number_but_zero(inner),
        ast::Expr::Value(value) => match &value.value {
            // With an exponent it can be too small to be told from zero.
            ast::Value::Number(digits, _) => {
                !digits.contains(['e', 'E'])
                    && digits.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Functions of the clock and session that need no brackets.
fn is_clock(name: &str) -> bool {
    matches!(
        name,
        "CURRENT_DATE"
            | "CURRENT_TIME"
            | "CURRENT_TIMESTAMP"
            | "LOCALTIME"
            | "LOCALTIMESTAMP"
            | "CURRENT_USER"
            | "CURRENT_ROLE"
    )
}

/// Pseudo-columns of streams, CHANGES and stages.
fn is_metadata(name: &str) -> bool {
    matches!(name, "METADATA$ACTION" | "METADATA$ISUPDATE" | "METADATA$ROW_ID")
}
