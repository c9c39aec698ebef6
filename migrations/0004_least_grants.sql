-- Takes back what no process uses: names and addresses are read by RegistryService alone, and ClaimService reads no parcels.
REVOKE SELECT ON people FROM warranty_claim;
REVOKE SELECT, INSERT ON people FROM warranty_logistics;
REVOKE SELECT ON shipments, shipment_items FROM warranty_claim;
REVOKE SELECT ON claim_events FROM warranty_logistics;
-- warranty_coverage keeps SELECT on claims: the policy on people asks whether a dealer has a claim for the customer.
