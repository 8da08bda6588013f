{# One statement, as hooks and operations run it; its rows go to standard output. #}
{% macro ask(sql) %}
  {% set rows = [] %}
  {% for row in run_query(sql).rows %}
    {% set cells = [] %}
    {% for cell in row %}{% do cells.append(none if cell is none else cell | string) %}{% endfor %}
    {% do rows.append(cells) %}
  {% endfor %}
  {{ print(tojson(rows)) }}
{% endmacro %}
