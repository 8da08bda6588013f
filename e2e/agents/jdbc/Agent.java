import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Map;
import java.util.Properties;

/**
 * An agent's database access, reduced to one call: JSON in the first argument, one JSON line out.
 *
 * <p>The same task as in ../python/task.py; the driver is used as it comes.
 */
public class Agent {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws Exception {
    JsonNode task = JSON.readTree(arguments[0]);
    ObjectNode answer;
    try {
      answer = run(task);
    } catch (SQLException error) {
      answer = JSON.createObjectNode();
      answer.put("ok", false).put("errno", error.getErrorCode()).put("sqlstate", error.getSQLState());
      answer.put("message", error.getMessage()).put("kind", error.getClass().getSimpleName());
    }
    System.out.println(JSON.writeValueAsString(answer));
    System.out.flush();
    System.exit(0);
  }

  private static ObjectNode run(JsonNode task) throws Exception {
    Properties settings = new Properties();
    settings.put("user", "agent");
    settings.put("password", "placeholder");
    settings.put("account", "demo");
    for (Iterator<Map.Entry<String, JsonNode>> it = task.path("connect").fields(); it.hasNext(); ) {
      Map.Entry<String, JsonNode> entry = it.next();
      settings.put(entry.getKey(), entry.getValue().asText());
    }
    ObjectNode answer = JSON.createObjectNode();
    String place = task.path("url").asText("demo.snowflakecomputing.com/");
    try (Connection connection = DriverManager.getConnection("jdbc:snowflake://" + place, settings)) {
      answer.put("ok", true).put("driver", connection.getMetaData().getDriverVersion());
      for (JsonNode statement : task.path("before")) {
        connection.createStatement().execute(statement.asText());
      }
      Thread.sleep(1000 * task.path("pause").asLong());
      String sql = task.get("sql").asText();
      boolean count = "count".equals(task.path("mode").asText());
      if ("async".equals(task.path("mode").asText())) {
        read(async(connection.createStatement(), sql), count, answer);
        return answer;
      }
      try (PreparedStatement statement = connection.prepareStatement(sql)) {
        run(statement, task, count, answer);
      }
    }
    return answer;
  }

  private static void run(PreparedStatement statement, JsonNode task, boolean count, ObjectNode answer)
      throws Exception {
    bind(statement, task.path("binds"));
    if (task.has("many")) {
      for (JsonNode row : task.get("many")) {
        bind(statement, row);
        statement.addBatch();
      }
      answer.put("updated", statement.executeBatch().length);
      return;
    }
    if (task.has("cancel")) {
      Thread cancelling = new Thread(() -> cancel(statement, 1000 * task.get("cancel").asLong()));
      cancelling.setDaemon(true);
      cancelling.start();
    }
    if (statement.execute()) {
      read(statement.getResultSet(), count, answer);
    } else {
      answer.put("updated", statement.getUpdateCount());
    }
  }

  /** The driver's own extension; the interface that has it moved between its generations. */
  private static ResultSet async(Statement statement, String sql) throws Exception {
    Method submit = statement.getClass().getMethod("executeAsyncQuery", String.class);
    submit.setAccessible(true);
    try {
      return (ResultSet) submit.invoke(statement, sql);
    } catch (InvocationTargetException error) {
      throw (Exception) error.getCause();
    }
  }

  private static void bind(PreparedStatement statement, JsonNode row) throws SQLException {
    int index = 0;
    for (JsonNode bind : row) {
      if (bind.isIntegralNumber()) {
        statement.setLong(++index, bind.asLong());
      } else {
        statement.setString(++index, bind.isNull() ? null : bind.asText());
      }
    }
  }

  private static void cancel(PreparedStatement statement, long after) {
    try {
      Thread.sleep(after);
      statement.cancel();
    } catch (SQLException | InterruptedException error) {
      System.err.println(error);
    }
  }

  private static void read(ResultSet result, boolean count, ObjectNode answer) throws Exception {
    ResultSetMetaData meta = result.getMetaData();
    int width = meta.getColumnCount();
    ArrayNode columns = answer.putArray("columns");
    for (int i = 1; i <= width; i++) {
      columns.add(meta.getColumnName(i));
    }
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    ArrayNode rows = count ? null : answer.putArray("rows");
    long seen = 0;
    while (result.next()) {
      seen++;
      StringBuilder line = new StringBuilder();
      ArrayNode row = count ? null : rows.addArray();
      for (int i = 1; i <= width; i++) {
        String cell = result.getString(i);
        line.append(i > 1 ? "|" : "").append(cell == null ? "" : cell);
        if (row != null) {
          row.add(cell);
        }
      }
      digest.update(line.append("\n").toString().getBytes(StandardCharsets.UTF_8));
    }
    if (count) {
      answer.put("count", seen).put("digest", HexFormat.of().formatHex(digest.digest()));
    }
  }
}
