// An agent's database access, reduced to one call: JSON in the first argument, one JSON line out.
// The same task as in ../python/task.py; the driver is used as it comes.
package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/snowflakedb/gosnowflake"
)

type task struct {
	SQL     string         `json:"sql"`
	Binds   []any          `json:"binds"`
	Many    [][]any        `json:"many"`
	Mode    string         `json:"mode"`
	Before  []string       `json:"before"`
	Pause   float64        `json:"pause"`
	Cancel  float64        `json:"cancel"`
	Connect map[string]any `json:"connect"`
}

type answer struct {
	OK       bool        `json:"ok"`
	Driver   string      `json:"driver,omitempty"`
	Columns  []string    `json:"columns,omitempty"`
	Rows     [][]*string `json:"rows,omitempty"`
	Count    int         `json:"count,omitempty"`
	Digest   string      `json:"digest,omitempty"`
	Errno    int         `json:"errno,omitempty"`
	SQLState string      `json:"sqlstate,omitempty"`
	Message  string      `json:"message,omitempty"`
	Kind     string      `json:"kind,omitempty"`
}

func main() {
	var given task
	if err := json.Unmarshal([]byte(os.Args[1]), &given); err != nil {
		panic(err)
	}
	// The driver logs to standard error what it returns as an error anyway.
	gosnowflake.GetLogger().SetOutput(io.Discard)
	done, err := run(given)
	if err != nil {
		done = failure(err)
	}
	line, err := json.Marshal(done)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func failure(err error) *answer {
	failed := &answer{Message: err.Error(), Kind: fmt.Sprintf("%T", err)}
	var theirs *gosnowflake.SnowflakeError
	if errors.As(err, &theirs) {
		failed.Errno, failed.SQLState = theirs.Number, theirs.SQLState
		failed.Message, failed.Kind = theirs.Message, fmt.Sprintf("%T", theirs)
	}
	return failed
}

// connect builds the data source name that one would write by hand.
func connect(settings map[string]any) (*sql.DB, error) {
	config := gosnowflake.Config{Account: "demo", User: "agent", Password: "placeholder"}
	for name, value := range settings {
		text, _ := value.(string)
		switch name {
		case "user":
			config.User = text
		case "password":
			config.Password = text
		case "database":
			config.Database = text
		case "schema":
			config.Schema = text
		case "warehouse":
			config.Warehouse = text
		case "role":
			config.Role = text
		case "protocol":
			config.Protocol = text
		case "host":
			config.Host = text
		case "port":
			config.Port = int(value.(float64))
		case "ocspFailOpen":
			config.OCSPFailOpen = gosnowflake.OCSPFailOpenFalse
		default:
			return nil, fmt.Errorf("unknown setting %s", name)
		}
	}
	dsn, err := gosnowflake.DSN(&config)
	if err != nil {
		return nil, err
	}
	return sql.Open("snowflake", dsn)
}

func run(given task) (*answer, error) {
	db, err := connect(given.Connect)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	ctx := context.Background()
	connection, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	for _, statement := range given.Before {
		if _, err := connection.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Duration(given.Pause * float64(time.Second)))
	done := &answer{OK: true, Driver: gosnowflake.SnowflakeGoDriverVersion}
	if given.Many != nil {
		_, err = connection.ExecContext(ctx, given.SQL, arrays(given.Many)...)
		return done, err
	}
	if given.Mode == "async" {
		ctx = gosnowflake.WithAsyncMode(ctx)
	}
	if given.Cancel > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(given.Cancel*float64(time.Second)))
		defer cancel()
		ctx = limited
	}
	rows, err := connection.QueryContext(ctx, given.SQL, given.Binds...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return done, read(rows, given.Mode == "count", done)
}

// arrays turns rows into the driver's array binds, one per column.
func arrays(rows [][]any) []any {
	numbers, texts := make([]int, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		numbers[i], texts[i] = int(row[0].(float64)), row[1].(string)
	}
	return []any{gosnowflake.Array(&numbers), gosnowflake.Array(&texts)}
}

func read(rows *sql.Rows, count bool, done *answer) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	done.Columns = columns
	digest := sha256.New()
	cells := make([]any, len(columns))
	places := make([]any, len(columns))
	for i := range cells {
		places[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return err
		}
		row := make([]*string, len(cells))
		line := make([]string, len(cells))
		for i, cell := range cells {
			if cell != nil {
				line[i] = text(cell)
				row[i] = &line[i]
			}
		}
		if count {
			done.Count++
			io.WriteString(digest, strings.Join(line, "|")+"\n")
		} else {
			done.Rows = append(done.Rows, row)
		}
	}
	if count {
		done.Digest = fmt.Sprintf("%x", digest.Sum(nil))
	}
	return rows.Err()
}

func text(cell any) string {
	switch value := cell.(type) {
	case time.Time:
		return value.Format(time.RFC3339Nano)
	case []byte:
		return fmt.Sprintf("%x", value)
	default:
		return fmt.Sprint(value)
	}
}
