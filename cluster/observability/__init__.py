"""What operators watch: scrape configs, alerts, dashboards."""
