//! Where a value comes from.

use super::class::Class;

/// A base column, numbered within one analysis.
pub(crate) type Id = u32;

/// The base columns that can be seen in a value, and how directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// Ascending, each once.
    pub(crate) sources: Vec<Id>,
    pub(crate) shape: Shape,
    /// It combines the rows of a group.
    pub(crate) aggregate: bool,
    pub(crate) class: Class,
}

/// How directly a value is what it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The same for every row, and no column in it.
    Constant,
    /// The base column itself, through renames only.
    Bare,
    /// The base column itself, but met itself again in a set operation or join.
    Plain,
    /// An element of the base column, by FLATTEN: its own elements can be counted as those of the column.
    Element,
    /// Anything else.
    Mixed,
}

impl Provenance {
    pub(crate) fn constant() -> Self {
        Self { sources: Vec::new(), shape: Shape::Constant, aggregate: false, class: Class::Null }
    }

    /// Not constant, and no column can be seen in it.
    pub(crate) fn clean() -> Self {
        Self { sources: Vec::new(), shape: Shape::Mixed, aggregate: false, class: Class::Other }
    }

    pub(crate) fn bare(id: Id, class: Class) -> Self {
        Self { sources: vec![id], shape: Shape::Bare, aggregate: false, class }
    }

    /// The same, known to be of this kind.
    #[must_use]
    pub(crate) fn of(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// A column can be seen in it, and it is not simply that column.
    pub(crate) fn is_derived(&self) -> bool {
        !self.is_clean() && !self.is_bare()
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.shape == Shape::Bare
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.sources.is_empty()
    }

    /// The one column that it is.
    pub(crate) fn bare_id(&self) -> Option<Id> {
        if self.is_bare() { self.sources.first().copied() } else { None }
    }

    /// An expression that this is part of.
    #[must_use]
    pub(crate) fn mixed(mut self) -> Self {
        if self.shape != Shape::Constant {
            self.shape = Shape::Mixed;
        }
        self
    }

    /// An expression over both.
    #[must_use]
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.absorb(other);
        self.shape = match (self.shape, other.shape) {
            (Shape::Constant, Shape::Constant) => Shape::Constant,
            _ => Shape::Mixed,
        };
        self.class = Class::Other;
        self
    }

    /// A value that is either of them: one position of a set operation, a column that USING merged, a name that
    /// means a column or an alias.
    #[must_use]
    pub(crate) fn either(mut self, other: &Self) -> Self {
        let same = self.sources == other.sources;
        let is_direct = |shape| matches!(shape, Shape::Bare | Shape::Plain);
        self.shape = match (self.shape, other.shape) {
            (Shape::Constant, Shape::Constant) => Shape::Constant,
            (one, two) if same && is_direct(one) && is_direct(two) => Shape::Plain,
            _ => Shape::Mixed,
        };
        self.absorb(other);
        self.class = self.class.or(other.class);
        self
    }

    /// Several rows of it: no longer one constant.
    #[must_use]
    pub(crate) fn mixed_rows(mut self) -> Self {
        self.shape = Shape::Mixed;
        self
    }

    fn absorb(&mut self, other: &Self) {
        if !other.sources.is_empty() {
            self.sources.extend_from_slice(&other.sources);
            self.sources.sort_unstable();
            self.sources.dedup();
        }
        self.aggregate |= other.aggregate;
    }
}
