-- What a coverage decision reads of a sale stands in the index that finds it: the row itself, on a page of its own, is not fetched.
ALTER INDEX sales_one_current RENAME TO sales_one_current_without_facts;
CREATE UNIQUE INDEX sales_one_current ON sales (serial) INCLUDE (sold_on, invoice_number, region, contract_number, cancelled)
    WHERE superseded_at = 'infinity';
DROP INDEX sales_one_current_without_facts;
