//! Several statements in one request: which of them the account says has failed.

/// How much of a statement the account quotes, in characters.
const QUOTED: usize = 30;

/// Which of the statements of a text has failed, counted from 0, by the account's message. Those before it ran, those
/// behind it did not. The account quotes how the statement begins and says where: only where both fit one of them it is
/// believed, since what stands behind them in the message can be whatever was sent.
#[must_use]
pub fn failed(message: &str, text: &str, statements: &[&str]) -> Option<usize> {
    let (_, said) = message.split_once("multiple statements failed on statement \"")?;
    let mut behind = 0;
    for (number, statement) in statements.iter().enumerate() {
        let begin = behind + text.get(behind..)?.find(statement)?;
        behind = begin + statement.len();
        let before = text.get(..begin)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().encode_utf16().count();
        if said.starts_with(&format!("{}\" (at line {line}, position {column})", quoted(statement)))
        {
            return Some(number);
        }
    }
    None
}

/// A statement as the account quotes it.
fn quoted(statement: &str) -> String {
    let begin: String = statement.chars().take(QUOTED).collect();
    if begin.len() < statement.len() { format!("{begin}...") } else { begin }
}

#[cfg(test)]
mod tests {
    use super::failed;

    fn said(quoted: &str, line: usize, position: usize, why: &str) -> String {
        format!(
            "JavaScript execution error: Uncaught Execution of multiple statements failed on statement \"{quoted}\" \
             (at line {line}, position {position}).\n{why} in SYSTEM$MULTISTMT at '    throw `Execution of multiple \
             statements failed on statement {{0}} (at line {{1}}, position {{2}}).`.replace('{{1}}', LINES[i])' position 4"
        )
    }

    #[test]
    fn the_statement_that_failed_is_the_one_that_is_quoted_where_it_stands() {
        let text = "create or replace table table1 (i int); insert into table1 (i) values (1); \
                    insert into table1 (i) values ('x');\n -- ä\n select 'ö'; select 1";
        let statements = [
            "create or replace table table1 (i int)",
            "insert into table1 (i) values (1)",
            "insert into table1 (i) values ('x')",
            "select 'ö'",
            "select 1",
        ];
        let which = |message: &str| failed(message, text, &statements);
        let insert = "insert into table1 (i) values ...";
        assert_eq!(which(&said(insert, 1, 40, "why")), Some(1));
        assert_eq!(which(&said(insert, 1, 75, "why")), Some(2));
        assert_eq!(which(&said("select 'ö'", 3, 1, "why")), Some(3));
        assert_eq!(which(&said("select 1", 3, 13, "why")), Some(4));
        // Neither the quoted text alone nor the place alone says it, and nothing else is read.
        for message in [
            &said(insert, 1, 41, "why"),
            &said("select 1", 1, 75, "why"),
            &said("select 2", 9, 9, &said(insert, 1, 75, "why")),
            "SQL compilation error: (at line 1, position 75)",
            "",
        ] {
            assert_eq!(which(message), None, "{message}");
        }
        assert_eq!(failed(&said("select 1", 1, 0, ""), "select 2", &["select 1"]), None);
    }
}
