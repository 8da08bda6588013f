{{ config(materialized='view') }}
select country, count(*) as customers from DEMO.PUBLIC.CUSTOMERS group by country
