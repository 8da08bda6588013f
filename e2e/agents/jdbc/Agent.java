import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Map;
import java.util.Properties;

/**
 * An agent's database access, reduced to one call: JSON in the first argument, one JSON line out.
 *
 * <p>The same task as in ../python/agent.py; the driver is used as it comes.
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
    try (Connection connection =
            DriverManager.getConnection("jdbc:snowflake://demo.snowflakecomputing.com/", settings);
        PreparedStatement statement = connection.prepareStatement(task.get("sql").asText())) {
      int index = 0;
      for (JsonNode bind : task.path("binds")) {
        statement.setString(++index, bind.asText());
      }
      boolean rows = statement.execute();
      answer.put("ok", true).put("driver", connection.getMetaData().getDriverVersion());
      if (!rows) {
        answer.put("updated", statement.getUpdateCount());
        return answer;
      }
      read(statement.getResultSet(), "count".equals(task.path("mode").asText()), answer);
    }
    return answer;
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
