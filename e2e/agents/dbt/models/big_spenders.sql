select id, name, credit_limit from DEMO.PUBLIC.CUSTOMERS where credit_limit > 5000
