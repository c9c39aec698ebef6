//! The fault catalogue.

use tonic::Request;

use crate::{
    contract::v1,
    service::{App, Fields, Page, Reply, open, open_write, page, transact, wire::number},
    store::faults::{self, Fault},
};

fn fault(fault: Fault) -> v1::Fault {
    v1::Fault {
        fault_code: fault.code,
        chinese: fault.chinese,
        english: fault.english,
        product_types: fault.product_types.into_iter().map(|of| number!(of)).collect(),
    }
}

pub(super) async fn list(app: &App, request: Request<v1::ListFaultsRequest>) -> Reply<v1::ListFaultsResponse> {
    let (call, request) = open(request)?;
    let mut fields = Fields::default();
    let page = page!(fields, call, request);
    let product_type = fields.optional_choice("product_type", request.product_type);
    let (page, product_type) = fields.finish(|| Some((page?, product_type?)))?;
    transact!(app.read(&call, page), |conn, page, _| {
        let after = page.after.as_deref().unwrap_or("");
        let mut found = faults::list(conn, product_type, after, page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |fault| fault.code.clone());
        Ok(v1::ListFaultsResponse { faults: found.into_iter().map(fault).collect(), next_page_token })
    })
}

pub(super) async fn put(app: &App, request: Request<v1::PutFaultRequest>) -> Reply<v1::PutFaultResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let given = request.fault.clone().unwrap_or_default();
    Fields::at_most("fault.product_types", &given.product_types, 20)?;
    let code = fields.optional_fault("fault.fault_code", &given.fault_code);
    if given.fault_code.is_empty() {
        fields.violate("fault.fault_code", "is required");
    }
    let chinese = fields.text("fault.chinese", &given.chinese, 100);
    let english = fields.text("fault.english", &given.english, 100);
    let mut product_types = Vec::new();
    for (at, of) in given.product_types.iter().enumerate() {
        let field = format!("fault.product_types[{at}]");
        match fields.choice(&field, *of) {
            Some(of) if product_types.contains(&of) => fields.violate(&field, "must stand once"),
            of => product_types.extend(of),
        }
    }
    let (id, new) =
        fields.finish(|| Some((id?, Fault { code: code??, chinese: chinese?, english: english?, product_types })))?;
    transact!(app.write(&call, id, &request, new), |conn, new, _| {
        faults::put(conn, &new).await?;
        Ok(v1::PutFaultResponse { fault: Some(fault(new)) })
    })
}
