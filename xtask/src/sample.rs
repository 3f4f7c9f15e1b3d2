//! The search engines of the demonstration and the data in them.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::engines::ElasticsearchCluster;
use crate::search::SearchClient;
use crate::{images, search_images};

/// The namespace of both clusters and of the Reindex.
pub const NAMESPACE: &str = "search";
/// The index, on both sides.
pub const INDEX: &str = "product_info";

/// Products and their annual rates.
const PRODUCTS: [(&str, &str); 6] =
    [("A", "3.2200%"), ("B", "3.1100%"), ("C", "3.3500%"), ("D", "3.1200%"), ("E", "3.0100%"), ("F", "2.7500%")];

/// ES_2, which is read from: one node.
pub fn source() -> ElasticsearchCluster {
    ElasticsearchCluster::new(NAMESPACE, "es-2", 1)
}

/// ES_1, which is written to: three nodes, which trust ES_2's authority. ES_2 is not on its allowlist.
pub fn destination() -> Result<ElasticsearchCluster> {
    Ok(ElasticsearchCluster { trusted_ca: Some(source().ca()?), ..ElasticsearchCluster::new(NAMESPACE, "es-1", 3) })
}

/// Deploys both clusters without waiting for them.
pub fn deploy() -> Result<()> {
    images::import(&search_images::all()?)?;
    source().deploy()?;
    destination()?.deploy()
}

/// Waits for both clusters and puts the data on the source.
pub async fn load() -> Result<()> {
    source().wait(Duration::from_secs(300))?;
    destination()?.wait(Duration::from_secs(300))?;
    load_products(&source().client()?).await
}

/// Creates the source index with its six documents, unless it has them. The analyzer's name is that of a plugin which
/// is not there; it is defined in the index instead.
async fn load_products(client: &SearchClient) -> Result<()> {
    let (status, count) = client.request(Method::GET, &format!("/{INDEX}/_count"), None).await?;
    if status == 200 && count["count"] == PRODUCTS.len() {
        return Ok(());
    }
    client.request(Method::DELETE, &format!("/{INDEX}"), None).await?;
    client.put(&format!("/{INDEX}"), &index()).await?;
    let mut lines = String::new();
    for (number, (name, rate)) in (1..).zip(PRODUCTS) {
        let action = json!({"index": {"_index": INDEX, "_id": number.to_string()}});
        let document = json!({
            "productName": format!("Wealth Management Product {name}"),
            "annual_rate": rate,
            "describe": format!("Product {name}: bought and sold on every working day, paid out the day after."),
        });
        lines.push_str(&format!("{action}\n{document}\n"));
    }
    client.bulk(lines).await
}

fn index() -> Value {
    json!({
        "settings": {
            "number_of_shards": 5,
            "number_of_replicas": 1,
            "analysis": {
                "analyzer": {"ik_smart": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase"]}}
            }
        },
        "mappings": {
            "properties": {
                "productName": {"type": "text", "analyzer": "ik_smart"},
                "annual_rate": {"type": "keyword"},
                "describe": {"type": "text", "analyzer": "ik_smart"}
            }
        }
    })
}
