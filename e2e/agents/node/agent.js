// An agent's database access, reduced to one call: JSON in the last argument, one JSON line out.
// The same task as in ../python/task.py; the driver is used as it comes.
'use strict';

const crypto = require('crypto');
const snowflake = require('snowflake-sdk');

const task = JSON.parse(process.argv[process.argv.length - 1]);
const { ocspFailOpen = true, user = 'agent', ...connect } = task.connect || {};
snowflake.configure({ logLevel: 'ERROR', additionalLogToConsole: false, ocspFailOpen });
const settings = Object.assign({ account: 'demo', username: user, password: 'placeholder' }, connect);
const connection = snowflake.createConnection(settings);

function finish(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n', () => process.exit(0));
}

function failure(error) {
  return { ok: false, errno: Number(error.code), sqlstate: error.sqlState, message: error.message, kind: error.name };
}

function text(cell) {
  if (cell === null || cell === undefined) return null;
  if (cell instanceof Date) return typeof cell.toJSON() === 'string' ? cell.toJSON() : String(cell);
  return Buffer.isBuffer(cell) ? cell.toString('hex') : typeof cell === 'object' ? JSON.stringify(cell) : String(cell);
}

function execute(sqlText, more = {}, then = () => {}) {
  return new Promise((resolve, reject) => {
    const complete = (error, executed, rows) => (error ? reject(error) : resolve({ executed, rows }));
    then(connection.execute({ sqlText, complete, ...more }));
  });
}

async function* streamed(executed) {
  for await (const row of executed.streamRows()) yield row;
}

async function ask() {
  for (const statement of task.before || []) await execute(statement);
  await new Promise((resolve) => setTimeout(resolve, 1000 * (task.pause || 0)));
  const more = { binds: task.many || task.binds, streamResult: task.mode === 'count', asyncExec: task.mode === 'async' };
  let { executed, rows } = await execute(task.sql, more, (statement) => {
    if (task.cancel) setTimeout(() => statement.cancel(() => {}), 1000 * task.cancel);
  });
  if (task.mode === 'async') {
    executed = await connection.getResultsFromQueryId({ queryId: executed.getQueryId() });
    rows = [];
    for await (const row of streamed(executed)) rows.push(row);
  }
  const columns = (executed.getColumns() || []).map((column) => column.getName());
  const answer = { ok: true, driver: 'node', queryId: executed.getQueryId(), columns };
  const cells = (row) => columns.map((column) => text(row[column]));
  if (task.mode === 'count') {
    const state = crypto.createHash('sha256');
    answer.count = 0;
    for await (const row of streamed(executed)) {
      answer.count += 1;
      state.update(cells(row).map((cell) => (cell === null ? '' : cell)).join('|') + '\n');
    }
    answer.digest = state.digest('hex');
  } else {
    answer.rows = (rows || []).map(cells);
  }
  return answer;
}

connection.connect((refused) => {
  if (refused) return finish(failure(refused));
  ask().catch(failure).then((answer) => connection.destroy(() => finish(answer)));
});
