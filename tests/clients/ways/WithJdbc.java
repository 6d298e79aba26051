// The ways of JDBC; see orders.py.
import java.io.*;
import java.sql.*;
import java.util.*;
class WithJdbc {
  interface Way { ResultSet take(Connection db, String sql, String code) throws SQLException; }

  static ResultSet run(PreparedStatement statement, String code) throws SQLException {
    statement.setString(1, code);
    var row = statement.executeQuery();
    row.next();
    return row;
  }
  static String saidOf(ResultSet row) throws SQLException {
    var subject = row.getString("data").replaceAll(".*\"subject\": *\"(\\w*)\".*", "$1");
    return String.join("\t", row.getString("status"), subject, row.getString("expires_at"),
        row.getObject("expires_at").getClass().getSimpleName(), row.getObject("data").getClass().getSimpleName());
  }

  // What is after FROM, as JDBC's escape.
  static ResultSet call(Connection db, String sql, String code) throws SQLException {
    return run(db.prepareCall("{call " + sql.replaceAll(".* FROM ", "") + "}"), code);
  }
  static ResultSet fetchSize(Connection db, String sql, String code) throws SQLException {
    var statement = db.prepareStatement(sql);
    statement.setFetchSize(1);
    return run(statement, code);
  }
  static ResultSet maxRows(Connection db, String sql, String code) throws SQLException {
    var statement = db.prepareStatement(sql);
    statement.setMaxRows(1);
    return run(statement, code);
  }
  static ResultSet transaction(Connection db, String sql, String code) throws SQLException {
    db.setAutoCommit(false);
    var row = run(db.prepareStatement(sql), code);
    db.createStatement().execute("INSERT INTO undone DEFAULT VALUES");
    db.rollback();
    return row;
  }
  static ResultSet isolation(Connection db, String sql, String code) throws SQLException {
    db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    return run(db.prepareStatement(sql), code);
  }

  public static void main(String[] none) throws IOException {
    var ways = new LinkedHashMap<String, Way>();
    ways.put("a PreparedStatement in autocommit, the default", (db, sql, code) -> run(db.prepareStatement(sql), code));
    ways.put("{call …}", WithJdbc::call);
    ways.put("setFetchSize in autocommit", WithJdbc::fetchSize);
    ways.put("setAutoCommit(false)", WithJdbc::transaction);
    ways.put("setMaxRows", WithJdbc::maxRows);
    ways.put("setTransactionIsolation with another level than READ COMMITTED", WithJdbc::isolation);
    System.setOut(new PrintStream(System.out, true, "UTF-8"));
    System.out.println(String.join("\t", ways.keySet()));
    var orders = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
    for (var order = orders.readLine(); order != null; order = orders.readLine()) {
      var words = order.split("\t");
      try (var db = DriverManager.getConnection(System.getenv("JDBC_URL"))) {
        ResultSet row = null;
        for (int i = 2; i < words.length; i++) row = ways.get(words[0]).take(db, words[1], words[i]);
        System.out.println(saidOf(row));
      } catch (SQLException error) {
        System.out.println(error.getMessage().replace('\n', ' '));
      }
    }
  }
}
