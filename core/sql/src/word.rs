//! The words that policies, records and refusals use for statements: [`Word`], [`Effect`], [`Risk`].

use std::fmt;

/// Declares an enum whose variants are written as they are named.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every word there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// The word that is written like this.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $(stringify!($variant) => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What kind of thing a CREATE, ALTER or DROP is about.
    Thing {
        /// TABLE, also transient and temporary.
        Table,
        /// EXTERNAL TABLE.
        ExternalTable,
        /// DYNAMIC TABLE.
        DynamicTable,
        /// ICEBERG TABLE.
        IcebergTable,
        /// HYBRID TABLE.
        HybridTable,
        /// EVENT TABLE.
        EventTable,
        /// VIEW.
        View,
        /// MATERIALIZED VIEW.
        MaterializedView,
        /// SEMANTIC VIEW.
        SemanticView,
        /// SCHEMA.
        Schema,
        /// DATABASE.
        Database,
        /// SEQUENCE.
        Sequence,
        /// FUNCTION, also aggregate and external.
        Function,
        /// PROCEDURE.
        Procedure,
        /// STAGE.
        Stage,
        /// FILE FORMAT.
        FileFormat,
        /// STREAM.
        Stream,
        /// TASK.
        Task,
        /// PIPE.
        Pipe,
        /// ALERT.
        Alert,
        /// TAG.
        Tag,
        /// MASKING POLICY.
        MaskingPolicy,
        /// ROW ACCESS POLICY.
        RowAccessPolicy,
        /// Any other kind of POLICY.
        Policy,
        /// NETWORK RULE.
        NetworkRule,
        /// INTEGRATION of any kind.
        Integration,
        /// ROLE, also database and application roles.
        Role,
        /// USER.
        User,
        /// WAREHOUSE.
        Warehouse,
        /// SHARE.
        Share,
        /// RESOURCE MONITOR.
        ResourceMonitor,
        /// SECRET.
        Secret,
        /// CONNECTION.
        Connection,
        /// FAILOVER GROUP or REPLICATION GROUP.
        Group,
        /// ACCOUNT, also managed accounts and organizations.
        Account,
        /// APPLICATION and APPLICATION PACKAGE.
        Application,
        /// COMPUTE POOL.
        ComputePool,
        /// SERVICE.
        Service,
        /// IMAGE REPOSITORY, GIT REPOSITORY.
        Repository,
        /// STREAMLIT.
        Streamlit,
        /// NOTEBOOK.
        Notebook,
        /// MODEL, MODEL MONITOR.
        Model,
        /// LISTING, DATA EXCHANGE.
        Listing,
        /// CORTEX SEARCH SERVICE, AGENT and the like.
        Cortex,
        /// BACKUP SET, SNAPSHOT and SNAPSHOT SET.
        Backup,
        /// DBT PROJECT, DCM PROJECT, NOTEBOOK PROJECT, WORKSPACE.
        Project,
        /// TYPE.
        Type,
        /// DATASET.
        Dataset,
        /// CONTACT.
        Contact,
        /// GATEWAY.
        Gateway,
        /// EXTERNAL VOLUME.
        Volume,
        /// INDEX.
        Index,
        /// A thing that is none of these.
        Other,
    }
}

/// The kind of a statement: what its head keywords say, and its syntax tree confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// SELECT, WITH, VALUES and combinations of them.
    Select,
    /// EXPLAIN of any statement.
    Explain,
    /// SHOW.
    Show,
    /// DESCRIBE.
    Describe,
    /// SHOW and DESCRIBE of users, rights, policies, integrations, secrets and other matters of the account.
    ShowAccount,
    /// LIST files of a stage.
    List,
    /// INSERT, also multi-table.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// TRUNCATE, also INSERT OVERWRITE.
    Truncate,
    /// COPY INTO a table.
    CopyIntoTable,
    /// COPY INTO a stage or a URL.
    CopyIntoLocation,
    /// GET files.
    Get,
    /// PUT files.
    Put,
    /// REMOVE files.
    Remove,
    /// CALL.
    Call,
    /// EXECUTE IMMEDIATE.
    ExecuteImmediate,
    /// EXECUTE TASK, ALERT, NOTEBOOK, SERVICE.
    Execute,
    /// A scripting block (`BEGIN ... END`, `DECLARE`), or scripting words outside of one.
    Scripting,
    /// GRANT.
    Grant,
    /// REVOKE.
    Revoke,
    /// COMMENT ON.
    Comment,
    /// UNDROP.
    Undrop,
    /// USE ROLE.
    UseRole,
    /// USE SECONDARY ROLES.
    UseSecondaryRoles,
    /// USE WAREHOUSE.
    UseWarehouse,
    /// USE DATABASE, or USE without a kind and one part.
    UseDatabase,
    /// USE SCHEMA, or USE without a kind and two parts.
    UseSchema,
    /// SET a session variable.
    Set,
    /// UNSET a session variable.
    Unset,
    /// ALTER SESSION.
    AlterSession,
    /// BEGIN a transaction.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// CREATE of a thing.
    Create(Thing),
    /// ALTER of a thing.
    Alter(Thing),
    /// DROP of a thing; also what CREATE OR REPLACE and ALTER ... DROP count as.
    Drop(Thing),
    /// Nothing that this crate knows.
    Unknown,
}

words! {
    /// Words that stand for several kinds of statement.
    Group {
        /// Every CREATE.
        Create,
        /// Every ALTER of a thing.
        Alter,
        /// Every DROP, whatever hides it.
        Drop,
        /// CREATE, ALTER, COMMENT and UNDROP of tables, views, sequences and schemas.
        Ddl,
        /// Everything about users, roles, grants, integrations, policies, shares, warehouses and other account matters,
        /// also only to show them.
        Admin,
        /// USE DATABASE, USE SCHEMA, USE WAREHOUSE, and USE ROLE of the role that the session has anyway.
        Use,
        /// BEGIN, COMMIT, ROLLBACK.
        Transaction,
    }
}

/// What a policy may write for kinds of statement: one [`Word`] or a [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Words {
    /// Exactly this kind.
    One(Word),
    /// Every kind of the group.
    Any(Group),
}

words! {
    /// What a statement does to the world, in one word.
    Effect {
        /// It reads rows or metadata.
        Read,
        /// It changes rows or files.
        Write,
        /// It makes, changes or drops objects that hold data.
        Define,
        /// It changes who may do what, or what costs money.
        Administer,
        /// It changes the state of its session.
        Session,
        /// It begins or ends a transaction.
        Transaction,
        /// It runs code that the text does not show.
        Opaque,
    }
}

words! {
    /// Why a statement deserves a second look.
    Risk {
        /// DELETE whose predicate does not restrict it.
        DeleteWithoutWhere,
        /// UPDATE whose predicate does not restrict it.
        UpdateWithoutWhere,
        /// All rows of a table are replaced or removed (TRUNCATE, INSERT OVERWRITE).
        Overwrite,
        /// CREATE, ALTER, COMMENT, UNDROP of objects that hold data.
        Ddl,
        /// An object is removed or replaced.
        Drop,
        /// Rights are given or taken.
        Grant,
        /// Users, roles, integrations, policies, warehouses and the like.
        Admin,
        /// Rows go between tables and files.
        Copy,
        /// Data could leave the account.
        ExternalSink,
        /// Files move between the client and a stage.
        Transfer,
        /// Code runs that the text does not show.
        Scripting,
        /// A masked column steers a predicate, sort, join, set operation or error (the policy knows which are masked).
        MaskedUse,
    }
}

// === impl Word ===

impl Word {
    /// Kinds that are not about a [`Thing`].
    const PLAIN: &'static [(Self, &'static str)] = &[
        (Self::Select, "Select"),
        (Self::Explain, "Explain"),
        (Self::Show, "Show"),
        (Self::Describe, "Describe"),
        (Self::ShowAccount, "ShowAccount"),
        (Self::List, "List"),
        (Self::Insert, "Insert"),
        (Self::Update, "Update"),
        (Self::Delete, "Delete"),
        (Self::Merge, "Merge"),
        (Self::Truncate, "Truncate"),
        (Self::CopyIntoTable, "CopyIntoTable"),
        (Self::CopyIntoLocation, "CopyIntoLocation"),
        (Self::Get, "Get"),
        (Self::Put, "Put"),
        (Self::Remove, "Remove"),
        (Self::Call, "Call"),
        (Self::ExecuteImmediate, "ExecuteImmediate"),
        (Self::Execute, "Execute"),
        (Self::Scripting, "Scripting"),
        (Self::Grant, "Grant"),
        (Self::Revoke, "Revoke"),
        (Self::Comment, "Comment"),
        (Self::Undrop, "Undrop"),
        (Self::UseRole, "UseRole"),
        (Self::UseSecondaryRoles, "UseSecondaryRoles"),
        (Self::UseWarehouse, "UseWarehouse"),
        (Self::UseDatabase, "UseDatabase"),
        (Self::UseSchema, "UseSchema"),
        (Self::Set, "Set"),
        (Self::Unset, "Unset"),
        (Self::AlterSession, "AlterSession"),
        (Self::Begin, "Begin"),
        (Self::Commit, "Commit"),
        (Self::Rollback, "Rollback"),
        (Self::Unknown, "Unknown"),
    ];

    /// Every kind there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let things = Thing::ALL
            .iter()
            .flat_map(|thing| [Self::Create(*thing), Self::Alter(*thing), Self::Drop(*thing)]);
        Self::PLAIN.iter().map(|(word, _)| *word).chain(things)
    }

    /// The kind that is written like this: `Select`, `CreateTable`, `DropView`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((word, _)) = Self::PLAIN.iter().find(|(_, written)| *written == text) {
            return Some(*word);
        }
        let about = |verb: &str| text.strip_prefix(verb).and_then(Thing::parse);
        about("Create")
            .map(Self::Create)
            .or_else(|| about("Alter").map(Self::Alter))
            .or_else(|| about("Drop").map(Self::Drop))
    }

    /// What a statement of this kind does to the world.
    #[must_use]
    pub fn effect(self) -> Effect {
        match self {
            Self::Select
            | Self::Explain
            | Self::Show
            | Self::Describe
            | Self::ShowAccount
            | Self::List => Effect::Read,
            Self::Insert
            | Self::Update
            | Self::Delete
            | Self::Merge
            | Self::Truncate
            | Self::CopyIntoTable
            | Self::CopyIntoLocation
            | Self::Get
            | Self::Put
            | Self::Remove => Effect::Write,
            Self::Call
            | Self::ExecuteImmediate
            | Self::Execute
            | Self::Scripting
            | Self::Unknown => Effect::Opaque,
            Self::Grant | Self::Revoke => Effect::Administer,
            Self::Comment | Self::Undrop => Effect::Define,
            Self::UseRole
            | Self::UseSecondaryRoles
            | Self::UseWarehouse
            | Self::UseDatabase
            | Self::UseSchema
            | Self::Set
            | Self::Unset
            | Self::AlterSession => Effect::Session,
            Self::Begin | Self::Commit | Self::Rollback => Effect::Transaction,
            Self::Create(thing) | Self::Alter(thing) | Self::Drop(thing) => thing.effect(),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(thing) => write!(f, "Create{thing}"),
            Self::Alter(thing) => write!(f, "Alter{thing}"),
            Self::Drop(thing) => write!(f, "Drop{thing}"),
            plain => {
                let written = Self::PLAIN.iter().find(|(word, _)| word == plain);
                f.write_str(written.map_or("Unknown", |(_, written)| written))
            }
        }
    }
}

// === impl Thing ===

impl Thing {
    /// What making, changing or dropping such a thing does to the world.
    #[must_use]
    pub fn effect(self) -> Effect {
        if self.is_data() || self.is_code() { Effect::Define } else { Effect::Administer }
    }

    /// Tables, views, sequences, schemas, databases: what `Ddl` speaks of.
    #[must_use]
    pub fn is_data(self) -> bool {
        match self {
            Self::Table
            | Self::DynamicTable
            | Self::HybridTable
            | Self::View
            | Self::MaterializedView
            | Self::Schema
            | Self::Sequence => true,
            Self::ExternalTable
            | Self::IcebergTable
            | Self::EventTable
            | Self::SemanticView
            | Self::Database
            | Self::Function
            | Self::Procedure
            | Self::Stage
            | Self::FileFormat
            | Self::Stream
            | Self::Task
            | Self::Pipe
            | Self::Alert
            | Self::Tag
            | Self::MaskingPolicy
            | Self::RowAccessPolicy
            | Self::Policy
            | Self::NetworkRule
            | Self::Integration
            | Self::Role
            | Self::User
            | Self::Warehouse
            | Self::Share
            | Self::ResourceMonitor
            | Self::Secret
            | Self::Connection
            | Self::Group
            | Self::Account
            | Self::Application
            | Self::ComputePool
            | Self::Service
            | Self::Repository
            | Self::Streamlit
            | Self::Notebook
            | Self::Model
            | Self::Listing
            | Self::Cortex
            | Self::Backup
            | Self::Project
            | Self::Type
            | Self::Dataset
            | Self::Contact
            | Self::Gateway
            | Self::Volume
            | Self::Index
            | Self::Other => false,
        }
    }

    /// Things that live in a schema but hold no rows of their own, and databases.
    fn is_code(self) -> bool {
        matches!(
            self,
            Self::ExternalTable
                | Self::IcebergTable
                | Self::EventTable
                | Self::SemanticView
                | Self::Database
                | Self::Function
                | Self::Procedure
                | Self::Stage
                | Self::FileFormat
                | Self::Type
                | Self::Index
        )
    }
}

// === impl Words ===

impl Words {
    /// The kind or group that is written like this.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Word::parse(text).map(Self::One).or_else(|| Group::parse(text).map(Self::Any))
    }

    /// Whether it speaks of this kind.
    #[must_use]
    pub fn matches(self, word: Word) -> bool {
        match self {
            Self::One(one) => one == word,
            Self::Any(group) => group.contains(word),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(word) => word.fmt(f),
            Self::Any(group) => group.fmt(f),
        }
    }
}

// === impl Group ===

impl Group {
    /// Whether the kind is one of the group.
    #[must_use]
    pub fn contains(self, word: Word) -> bool {
        match self {
            Self::Create => matches!(word, Word::Create(_)),
            Self::Alter => matches!(word, Word::Alter(_)),
            Self::Drop => matches!(word, Word::Drop(_)),
            Self::Ddl => match word {
                Word::Create(thing) | Word::Alter(thing) => thing.is_data(),
                Word::Comment | Word::Undrop => true,
                _ => false,
            },
            Self::Admin => word.effect() == Effect::Administer || word == Word::ShowAccount,
            Self::Use => {
                matches!(
                    word,
                    Word::UseDatabase | Word::UseSchema | Word::UseWarehouse | Word::UseRole
                )
            }
            Self::Transaction => word.effect() == Effect::Transaction,
        }
    }
}
