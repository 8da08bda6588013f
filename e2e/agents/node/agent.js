// An agent's database access, reduced to one call: JSON in the first argument, one JSON line out.
// The same task as in ../python/agent.py; the driver is used as it comes.
'use strict';

const crypto = require('crypto');
const snowflake = require('snowflake-sdk');

snowflake.configure({ logLevel: 'ERROR', additionalLogToConsole: false });

const task = JSON.parse(process.argv[process.argv.length - 1]);
const settings = Object.assign({ account: 'demo', username: 'agent', password: 'placeholder' }, task.connect || {});
const connection = snowflake.createConnection(settings);

function finish(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n', () => process.exit(0));
}

function failure(error) {
  return { ok: false, errno: Number(error.code), sqlstate: error.sqlState, message: error.message, kind: error.name };
}

function text(cell) {
  if (cell === null || cell === undefined) return null;
  return cell instanceof Date ? cell.toISOString() : typeof cell === 'object' ? JSON.stringify(cell) : String(cell);
}

connection.connect((refused) => {
  if (refused) return finish(failure(refused));
  const statement = {
    sqlText: task.sql,
    binds: task.binds,
    complete: (error, executed, rows) => {
      if (error) return finish(failure(error));
      const columns = (executed.getColumns() || []).map((column) => column.getName());
      const answer = { ok: true, driver: 'node', queryId: executed.getQueryId(), columns };
      const cells = rows.map((row) => columns.map((column) => text(row[column])));
      if (task.mode === 'count') {
        const state = crypto.createHash('sha256');
        for (const row of cells) state.update(row.map((cell) => (cell === null ? '' : cell)).join('|') + '\n');
        answer.count = cells.length;
        answer.digest = state.digest('hex');
      } else {
        answer.rows = cells;
      }
      connection.destroy(() => finish(answer));
    },
  };
  connection.execute(statement);
});
