"""Usage that other systems counted: taken in bulk, rated, charged; and what past use costs by which tariff."""
